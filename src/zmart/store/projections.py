"""Store the projections, folded from chain_events: markets, positions, trades, votes on chain, GlobalConfig."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Sequence

import msgspec

from zmart.market.fold_config import ChainKey, ConfigFold
from zmart.market.fold_state import FoldedTrade, FoldedVote, MarketFold, PositionFold
from zmart.market.types import MarketId, Signature, Wallet
from zmart.store.bulk import arrays, select, unnest, upsert
from zmart.store.pool import Connection, Pool, Record
from zmart.store.tables import MARKETS, ONCHAIN_VOTES, POSITIONS, TRADES, Table, declared


class FoldHead(msgspec.Struct, frozen=True, kw_only=True):
    """How far a market's events are folded. `signature`, `slot`, `index_in_block` and `ordinal` name the last event
    that was applied, None before the first. `error` says why the next event cannot be applied, and the fields `error_*`
    name that event; they are None if all known events are applied."""

    market_id: MarketId
    signature: Signature | None = None
    slot: int | None = None
    index_in_block: int | None = None
    ordinal: int | None = None
    error: str | None = None
    error_slot: int | None = None
    error_index_in_block: int | None = None
    error_ordinal: int | None = None

    @property
    def key(self) -> ChainKey | None:
        """The position on chain of the last event that was applied; None before the first."""
        return _key(self.slot, self.index_in_block, self.ordinal)

    @property
    def error_key(self) -> ChainKey | None:
        """The position on chain of the event that could not be applied; None if there is none."""
        return _key(self.error_slot, self.error_index_in_block, self.error_ordinal)


def _key(slot: int | None, index: int | None, ordinal: int | None) -> ChainKey | None:
    return None if slot is None or ordinal is None else (slot, index or 0, ordinal)


FOLDS = declared("market_folds", FoldHead, ("market_id",))
PROJECTIONS = (MARKETS, TRADES, ONCHAIN_VOTES, FOLDS, POSITIONS)
"""The tables whose rows are folded for each market, in the order in which the tables are written."""

CONFIG = declared("program_config", ConfigFold, ("id",))
_CONFIG_NAMES = [column.name for column in CONFIG.columns]
_READ_MARKETS = f"{select(MARKETS.name, MARKETS.columns)} WHERE market_id = ANY($1::text[])"
_READ_HEADS = f"{select(FOLDS.name, FOLDS.columns)} WHERE market_id = ANY($1::text[])"
_READ_POSITIONS = f"""
{select(POSITIONS.name, POSITIONS.columns)}
JOIN unnest($1::text[], $2::text[]) AS requested (market_id, wallet) USING (market_id, wallet)
"""
_READ_ALL_POSITIONS = f"{select(POSITIONS.name, POSITIONS.columns)} WHERE market_id = ANY($1::text[])"
_READ_EVERY_MARKET = select(MARKETS.name, MARKETS.columns)
_READ_EVERY_VOTE = select(ONCHAIN_VOTES.name, ONCHAIN_VOTES.columns)
_WRITE_CONFIG = f"""
INSERT INTO program_config AS old ({", ".join(_CONFIG_NAMES)})
VALUES ({", ".join(f"${n}" for n in range(1, len(_CONFIG_NAMES) + 1))})
ON CONFLICT (id) DO UPDATE SET {", ".join(f"{name} = excluded.{name}" for name in _CONFIG_NAMES)}
WHERE old IS DISTINCT FROM excluded
"""
_READ_CONFIG = f"SELECT {', '.join(_CONFIG_NAMES)} FROM program_config"
_NO_CONFIG = "DELETE FROM program_config"
_WRITE = {table.name: upsert(table.name, table.columns, table.key) for table in PROJECTIONS}
_DELETE_STALE = {
    table.name: f"""
DELETE FROM {table.name} t WHERE t.market_id = ANY($1::text[]) AND NOT EXISTS (
    SELECT FROM {unnest(table.key_columns, first=2)}
    WHERE {" AND ".join(f"t.{name} = r.{name}" for name in table.key)})
"""
    for table in PROJECTIONS
}
_DELETE_STALE_TRADES = """
DELETE FROM trades t WHERE t.market_id = $1 AND (
    (t.slot, t.index_in_block, t.ordinal) > ($2, $3, $4) OR NOT EXISTS (
        SELECT FROM chain_events e
        WHERE (e.slot, e.signature, e.ordinal) = (t.slot, t.signature, t.ordinal) AND e.market_id = $1))
"""
_HEADS_FROM = """
SELECT market_id FROM market_folds
WHERE error IS NOT NULL OR (slot, COALESCE(index_in_block, 0), ordinal) > ($1, $2, $3)
"""
_STUCK = """
SELECT f.market_id, f.error FROM market_folds f
WHERE error IS NOT NULL AND error_slot <= (SELECT gap_free_through_slot FROM index_progress)
ORDER BY error_slot LIMIT $1
"""
_FOLD_ERROR = "SELECT error FROM market_folds WHERE market_id = $1"


class ProjectionRows(msgspec.Struct):
    """The rows that the fold of a batch of events produced, to be written to the projections."""

    markets: list[MarketFold] = msgspec.field(default_factory=list)
    positions: list[PositionFold] = msgspec.field(default_factory=list)
    trades: list[FoldedTrade] = msgspec.field(default_factory=list)
    votes: list[FoldedVote] = msgspec.field(default_factory=list)
    heads: list[FoldHead] = msgspec.field(default_factory=list)

    def of(self, table: Table) -> Sequence[object]:
        """Return the rows for one of PROJECTIONS. If a wallet has several votes of one kind on a market, only the last
        is returned."""
        match table.name:
            case "markets":
                return self.markets
            case "trades":
                return self.trades
            case "onchain_votes":
                return list({(vote.market_id, vote.kind, vote.wallet): vote for vote in self.votes}.values())
            case "market_folds":
                return self.heads
            case _:
                return self.positions


async def read_markets(
    connection: Connection, market_ids: Collection[MarketId]
) -> dict[MarketId, MarketFold]:
    """Return the state of those of `market_ids` that are indexed, by id."""
    return {row["market_id"]: _market(row) for row in await connection.fetch(_READ_MARKETS, list(market_ids))}


async def read_heads(connection: Connection, market_ids: Collection[MarketId]) -> dict[MarketId, FoldHead]:
    """Return how far those of `market_ids` are folded that have any folded or stuck event, by id."""
    rows = await connection.fetch(_READ_HEADS, list(market_ids))
    return {row["market_id"]: FoldHead(**row) for row in rows}


async def read_positions(
    connection: Connection, of: Iterable[tuple[MarketId, Wallet]]
) -> dict[MarketId, dict[Wallet, PositionFold]]:
    """Return the positions of the pairs (market, wallet) in `of`, by market and wallet. Pairs without a position are
    left out."""
    pairs = list(of)
    if not pairs:
        return {}
    market_ids, wallets = zip(*sorted(pairs), strict=True)  # neighbours in the key share a page
    return _by_market(await connection.fetch(_READ_POSITIONS, list(market_ids), list(wallets)))


async def read_all_positions(
    connection: Connection, market_ids: Collection[MarketId]
) -> dict[MarketId, dict[Wallet, PositionFold]]:
    """Return all positions in these markets, by market and wallet."""
    return _by_market(await connection.fetch(_READ_ALL_POSITIONS, list(market_ids)))


async def read_every_market(connection: Connection) -> list[MarketFold]:
    """Return the state of all markets."""
    return [_market(row) for row in await connection.fetch(_READ_EVERY_MARKET)]


async def read_every_vote(connection: Connection) -> list[FoldedVote]:
    """Return all votes cast on chain."""
    rows = await connection.fetch(_READ_EVERY_VOTE)
    return [FoldedVote(**ONCHAIN_VOTES.decoded(row)) for row in rows]


Statements = list[tuple[str, list[str]]]


async def statements(rows: ProjectionRows) -> Statements:
    """Return the statements that write the rows, one for each table, with encoded arguments. Other tasks of the event
    loop can run after each table."""
    result: Statements = []
    for table in PROJECTIONS:
        if values := rows.of(table):
            result.append((_WRITE[table.name], arrays(table.columns, values)))
            await asyncio.sleep(0)
    return result


async def execute(connection: Connection, ready: Statements) -> None:
    """Execute the statements that `statements` returned. Stored rows that equal the new ones are not written."""
    for statement, arguments in ready:
        await connection.execute(statement, *arguments)


async def write(connection: Connection, rows: ProjectionRows) -> None:
    """Write the rows to the projections. Stored rows that equal the new ones are not written."""
    await execute(connection, await statements(rows))


async def delete_stale(
    connection: Connection, market_ids: Collection[MarketId], rows: ProjectionRows
) -> None:
    """Delete the projections' rows of the markets in `market_ids` that `rows` does not contain, after a refold."""
    for table in PROJECTIONS:
        await _delete_stale(connection, table, market_ids, rows)


async def delete_stale_of_long(connection: Connection, market_id: MarketId, rows: ProjectionRows) -> None:
    """Delete the stale rows of a refolded market with too many trades to hold in `rows`. Trades are deleted that have
    no event, or that come after the last event that could be folded; in other projections, rows that are not in
    `rows`."""
    key = rows.heads[0].key or (-1, -1, -1)
    await connection.execute(_DELETE_STALE_TRADES, market_id, *key)
    for table in (MARKETS, POSITIONS, ONCHAIN_VOTES):
        await _delete_stale(connection, table, [market_id], rows)


async def _delete_stale(
    connection: Connection, table: Table, market_ids: Collection[MarketId], rows: ProjectionRows
) -> None:
    keys = arrays(table.key_columns, rows.of(table))
    await connection.execute(_DELETE_STALE[table.name], list(market_ids), *keys)


async def write_config(connection: Connection, config: ConfigFold | None) -> None:
    """Write GlobalConfig as it is after all its events; None deletes the row."""
    if config is None:
        await connection.execute(_NO_CONFIG)
    else:
        await connection.execute(_WRITE_CONFIG, *msgspec.structs.astuple(config))


async def read_config(db: Connection | Pool) -> ConfigFold | None:
    """Return GlobalConfig, the program's rules; None before any of its events is indexed."""
    row = await db.fetchrow(_READ_CONFIG)
    return ConfigFold(**row) if row else None


async def folded_after(connection: Connection, key: ChainKey) -> set[MarketId]:
    """Return the markets that an event of GlobalConfig at position `key` may concern. These are folded beyond `key`,
    or have an event that cannot be folded."""
    return {row["market_id"] for row in await connection.fetch(_HEADS_FROM, *key)}


async def stuck(connection: Connection | Pool, limit: int = 100) -> list[tuple[MarketId, str]]:
    """Return (market id, error) of up to `limit` markets with an event that cannot be folded. Only events through
    whose slot the index is gap-free are considered."""
    return [(row["market_id"], row["error"]) for row in await connection.fetch(_STUCK, limit)]


async def fold_error(db: Connection | Pool, market_id: MarketId) -> str | None:
    """Return why the market's next event cannot be folded; None if all known events are folded."""
    reason: str | None = await db.fetchval(_FOLD_ERROR, market_id)
    return reason


def _market(row: Record) -> MarketFold:
    return MarketFold(**MARKETS.decoded(row))


def _by_market(rows: Iterable[Record]) -> dict[MarketId, dict[Wallet, PositionFold]]:
    by_market: dict[MarketId, dict[Wallet, PositionFold]] = {}
    for row in rows:
        position = PositionFold(**row)
        by_market.setdefault(position.market_id, {})[position.wallet] = position
    return by_market
