"""Rows as the indexer writes them, by the functions of store, so that a new column of `markets` changes no test."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import msgspec

from kit.wallets import address, market_address
from zmart.market.fold_config import ConfigFold
from zmart.market.fold_state import FoldedTrade, FoldedVote, MarketFold, PositionFold
from zmart.market.types import Address, ChainTime, MarketId, MarketState, Side
from zmart.store import projections
from zmart.store.pool import Connection, Pool
from zmart.store.projections import ProjectionRows

_TRANSACTION = """
INSERT INTO chain_transactions (signature, slot, failed, finality, event_count)
SELECT $1, $2, false, $3, 1 WHERE NOT EXISTS (SELECT FROM chain_transactions WHERE signature = $1)
"""
_DOCUMENT = """
INSERT INTO market_documents (market_id, creator, question, description, category, tags, ends_at, cid, document)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, ''::bytea)
"""
_PROGRESS = """
INSERT INTO index_progress (program_id, genesis_hash, gap_free_through_slot, gap_free_through_time, tip_slot)
VALUES ($1, 'g', $2, $3, $4)
ON CONFLICT (id) DO UPDATE SET gap_free_through_slot = $2, gap_free_through_time = $3
"""
_NO_TRIGGERS = "SET LOCAL session_replication_role = replica"


def chain_time(at: datetime | int | None) -> ChainTime | None:
    """Return a chain time, in seconds since 1970, of a datetime or of seconds; None of None."""
    return None if at is None else ChainTime(int(at.timestamp()) if isinstance(at, datetime) else at)


def market_fold(
    market: MarketId, state: str = "ACTIVE", *, created_at: datetime | int = 1, **fields: object
) -> MarketFold:
    """Return a market without trades; `fields` replaces fields. Times are datetimes or chain times."""
    times = {name: chain_time(at) for name, at in fields.items() if name.endswith("_at")}
    values: dict[str, object] = {
        "address": fields.get("address") or market_address(market),
        "creator": address(1),
        "b_parameter": 1_000_000_000,
        "initial_liquidity": 1_000_000_000,
        "current_liquidity": 1_000_000_000,
        "shares_yes": 0,
        "shares_no": 0,
        "price_yes_e9": 500_000_000,
        "created_slot": 1,
        "updated_slot": 1,
        **fields,
        **times,
    }
    return MarketFold(
        market_id=market, state=MarketState[state], created_at=chain_time(created_at), **values  # type: ignore[arg-type]
    )  # fmt: skip


async def add_markets(db: Pool | Connection, folds: Sequence[MarketFold], *, triggers: bool = True) -> None:
    """Write markets; without `triggers` the change feed has no messages about them, which is faster for thousands.

    `triggers` has an effect only where `db` is a pool.
    """
    if isinstance(db, Pool):
        async with db.transaction() as connection:
            if not triggers:
                await connection.execute(_NO_TRIGGERS)
            await projections.write(connection, ProjectionRows(markets=list(folds)))
    else:
        await projections.write(db, ProjectionRows(markets=list(folds)))


def trade_fold(
    market: MarketId, wallet: str, *, traded_at: datetime | int = 1, **fields: object
) -> FoldedTrade:
    """Return a purchase of one unit of YES for one lamport without fees; `fields` replaces fields.

    `traded_at` is a datetime or a chain time.
    """
    values: dict[str, object] = {
        "signature": f"{market}{wallet}", "ordinal": 0, "side": Side.BUY, "outcome": True, "shares": 1,
        "cost_lamports": 1, "protocol_fee_lamports": 0, "resolver_fee_lamports": 0, "lp_fee_lamports": 0,
        "price_yes_after_e9": 500_000_000, "slot": 1, "index_in_block": 0, **fields,
    }  # fmt: skip
    return FoldedTrade(
        market_id=market, wallet=wallet, traded_at=chain_time(traded_at), **values  # type: ignore[arg-type]
    )  # fmt: skip


async def add_trades(db: Pool | Connection, trades: Sequence[FoldedTrade]) -> None:
    if isinstance(db, Pool):
        async with db.transaction() as connection:
            await projections.write(connection, ProjectionRows(trades=list(trades)))
    else:
        await projections.write(db, ProjectionRows(trades=list(trades)))


async def add_position(pool: Pool, position: PositionFold) -> None:
    async with pool.transaction() as connection:
        await projections.write(connection, ProjectionRows(positions=[position]))


async def add_onchain_vote(pool: Pool, vote: FoldedVote, finality: str = "finalized") -> None:
    """Write a vote that was cast on chain, and its transaction."""
    async with pool.transaction() as connection:
        await add_transaction(connection, vote.signature, vote.slot, finality)
        await projections.write(connection, ProjectionRows(votes=[vote]))


async def add_transaction(
    db: Pool | Connection, signature: str, slot: int, finality: str = "finalized"
) -> None:
    """Write a successful transaction of the program with one event, unless its signature is already stored."""
    await db.execute(_TRANSACTION, signature, slot, finality)


async def add_config(pool: Pool, admin: str, **fields: object) -> None:
    """Write the program's rules as initialize_global_config sets them; `fields` replaces fields."""
    values: dict[str, object] = {"protocol_fee_bps": 300, "updated_slot": 1, **fields}
    async with pool.transaction() as connection:
        await projections.write_config(
            connection, ConfigFold(admin=admin, backend_authority=admin, **values)  # type: ignore[arg-type]
        )  # fmt: skip


async def add_document(
    pool: Pool,
    market: MarketId,
    creator: str,
    question: str,
    *,
    description: str = "",
    category: str = "",
    tags: Sequence[str] = (),
    ends_at: datetime | None = None,
    cid: str = "QmX",
) -> None:
    """Write the document of a market: its question, description, category, tags and end."""
    await pool.execute(_DOCUMENT, market, creator, question, description, category, list(tags), ends_at, cid)


async def index_through(pool: Pool, program: Address, slot: int, time: int = 0, tip: int = 0) -> None:
    """Write that the index is complete through `slot` and through the chain time `time`."""
    await pool.execute(_PROGRESS, program, slot, time, tip)


async def change_market(pool: Pool, market: MarketId, **fields: object) -> None:
    """Set fields of a market's row; times are datetimes or chain times, and 0 becomes NULL: it has not happened."""
    values = {
        name: (chain_time(value) or None) if name.endswith("_at") else value  # type: ignore[arg-type]
        for name, value in fields.items()
    }
    async with pool.transaction() as connection:
        fold = (await projections.read_markets(connection, [market]))[market]
        await projections.write(connection, ProjectionRows(markets=[msgspec.structs.replace(fold, **values)]))


async def copy_market(pool: Pool, market: MarketId, to: MarketId, **fields: object) -> None:
    """Write a copy of `market` with the id `to`; `fields` replaces fields."""
    async with pool.transaction() as connection:
        fold = (await projections.read_markets(connection, [market]))[market]
        copied = msgspec.structs.replace(fold, market_id=to, **fields)
        await projections.write(connection, ProjectionRows(markets=[copied]))
