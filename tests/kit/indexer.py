"""Drive the indexer's parts against a real PostgreSQL, and read the rows that they write, for comparison."""

from __future__ import annotations

from contextlib import asynccontextmanager

import asyncpg

from kit.chain_story import PROGRAM, Tx
from kit.story_node import GENESIS
from zmart.chain.rpc import Rpc
from zmart.chain.transactions import parse_transaction
from zmart.services.indexer.engine import Engine
from zmart.services.indexer.worker import BatchOutcome
from zmart.settings import Settings
from zmart.store import inbox, index_progress
from zmart.store.inbox import Hint
from zmart.store.pool import Pool

TABLES = {
    "program_config": "id",
    "markets": "market_id",
    "positions": "market_id, wallet",
    "trades": "signature, ordinal",
    "onchain_votes": "market_id, kind, wallet",
    "market_folds": "market_id",
    "chain_events": "signature, ordinal",
}


def settings_of(database_url: str, rpc_url: str, **more) -> Settings:
    return Settings(
        _env_file=None,
        zmart_env="local",
        database_url=database_url,
        solana_rpc_url=rpc_url,
        database_pool_size=4,
        indexer_scan_interval_s=0.2,
        indexer_logs_subscribe=False,
        **more,
    )


@asynccontextmanager
async def engine_on(database_url: str, rpc_url: str, **more):
    engine = await Engine.open(settings_of(database_url, rpc_url, **more))
    try:
        yield engine
    finally:
        await engine.close()


@asynccontextmanager
async def engine_asking(database_url: str, *rpc_urls: str, genesis: str = GENESIS, **more):
    """Yield an engine that tries each RPC call once at each URL, so that failures cost no time.

    Each URL is also a witness of the engine.
    """
    settings = settings_of(database_url, rpc_urls[0], **more)
    pool = await Pool.open(database_url, size=4, wait_s=30)
    await index_progress.claim(pool, PROGRAM.address, genesis)
    rpc, witnesses = Rpc(rpc_urls, attempts=1), [Rpc([url], attempts=1) for url in rpc_urls]
    engine = Engine(settings, pool, rpc, PROGRAM, witnesses)
    try:
        yield engine
    finally:
        await engine.close()


async def again(engine: Engine) -> None:
    """Make all pending inbox rows due now, as if the pauses before their next attempts were over."""
    await engine.pool.execute("UPDATE inbox SET next_attempt_at = now() WHERE state = 'pending'")


def hint(tx: Tx, *, with_index: bool = True) -> Hint:
    return Hint(tx.signature, tx.slot, tx.raw(with_index=with_index))


async def deliver(engine: Engine, txs, *, with_index: bool = True) -> None:
    """Store these transactions in the inbox as a webhook's, then run the engine until all due work is done."""
    await inbox.store(engine.pool, "webhook", [hint(tx, with_index=with_index) for tx in txs])
    await settle(engine)


async def deliver_raw(engine: Engine, raws, source: inbox.Source = "webhook") -> None:
    """Store raw transactions, as a node returns them, in the inbox, then run the engine until all due work is done.

    With the `source` "scan" they count as returned by our own RPC.
    """
    result = [parse_transaction(raw) for raw in raws]
    hints = [Hint(tx.signature, tx.slot, raw) for tx, raw in zip(result, raws, strict=True)]
    await inbox.store(engine.pool, source, hints)
    await settle(engine)


async def settle(engine: Engine) -> None:
    """Run the engine until no work is due; failed rows may wait for a later attempt."""
    while (
        await engine.fetcher.turn()
        or await engine.worker.turn() is BatchOutcome.WORKED
        or await engine.confirmer.turn()
    ):
        pass
    await engine.finality.check()


async def tables(database_url: str, *, without: tuple[str, ...] = ()) -> dict[str, list[tuple]]:
    """Return the rows of the tables of TABLES by table, in a fixed order; the tables `without` are left out."""
    connection = await asyncpg.connect(database_url)
    try:
        return {
            name: [tuple(row) for row in await connection.fetch(f"SELECT * FROM {name} ORDER BY {order}")]
            for name, order in TABLES.items()
            if name not in without
        }
    finally:
        await connection.close()


def without_lone_places(found):
    """Return copies of tables' rows with no index in the block for transactions that are alone in their slot.

    The indexer knows that index only if a webhook delivered it.
    """
    events = found["chain_events"]
    members: dict[int, set] = {}
    for row in events:
        members.setdefault(row[2], set()).add(row[0])
    lone = {next(iter(names)) for names in members.values() if len(names) == 1}
    assert len(lone) < len({row[0] for row in events})
    return {
        "chain_events": [(*row[:3], None if row[0] in lone else row[3], *row[4:]) for row in events],
        "trades": [(*row[:13], None if row[0] in lone else row[13], *row[14:]) for row in found["trades"]],
        **{name: found[name] for name in ("markets", "positions", "onchain_votes", "program_config")},
    }
