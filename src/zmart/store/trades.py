"""The tape: trades in chain order, and what is added up from them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import msgspec

from zmart.market.columns import TradeColumns
from zmart.market.types import Lamports, MarketId, PriceE9, Side, Signature, Slot, Wallet
from zmart.store.pool import Pool, Record
from zmart.store.tables import TRADES

Place = tuple[int, int, int]
"""Where a trade stands on chain: slot, index in the block, ordinal in the transaction."""

_COLUMNS = TRADES.row_list("trades")
_ORDER = "ORDER BY slot DESC, index_in_block DESC, ordinal DESC"
_OF_MARKET = f"SELECT {_COLUMNS} FROM trades WHERE market_id = $1 {_ORDER} LIMIT $2 OFFSET $3"
_OF_MARKET_BEHIND = f"""SELECT {_COLUMNS} FROM trades WHERE market_id = $1
AND (slot, index_in_block, ordinal) < ($3, $4, $5) {_ORDER} LIMIT $2"""
_VERSION = "signature, ordinal, xmin, slot, index_in_block"
_VERSIONS = f"SELECT {_VERSION} FROM trades WHERE market_id = $1 {_ORDER} LIMIT $2 OFFSET $3"
_VERSIONS_BEHIND = f"""SELECT {_VERSION} FROM trades WHERE market_id = $1
AND (slot, index_in_block, ordinal) < ($3, $4, $5) {_ORDER} LIMIT $2"""
_SEVERAL = f"""SELECT xmin, {_COLUMNS} FROM trades
WHERE (slot, signature, ordinal) IN (SELECT * FROM unnest($1::bigint[], $2::text[], $3::integer[]))"""
_OF_WALLET = f"SELECT {_COLUMNS} FROM trades WHERE wallet = $1 {_ORDER} LIMIT $2 OFFSET $3"
_OF_WALLET_BEHIND = f"""SELECT {_COLUMNS} FROM trades WHERE wallet = $1
AND (slot, index_in_block, ordinal) < ($3, $4, $5) {_ORDER} LIMIT $2"""
_STATS = """
SELECT coalesce(sum(cost_lamports), 0) AS volume, count(*) AS trades, count(DISTINCT wallet) AS wallets,
    coalesce(sum(cost_lamports) FILTER (WHERE side = 'buy'), 0) AS bought,
    coalesce(sum(cost_lamports) FILTER (WHERE side = 'sell'), 0) AS sold
FROM trades WHERE market_id = $1
"""
_POINTS = """
SELECT traded_at, price_yes_after_e9 FROM trades WHERE market_id = $1 AND traded_at >= $2 AND traded_at < $3
ORDER BY traded_at DESC, slot DESC, index_in_block DESC, ordinal DESC LIMIT $4
"""


class TradeRow(TradeColumns[str, bool, datetime], frozen=True, kw_only=True):
    """A trade."""

    @property
    def place(self) -> Place:
        return self.slot, self.index_in_block, self.ordinal

    @property
    def fees_lamports(self) -> Lamports:
        return Lamports(self.protocol_fee_lamports + self.resolver_fee_lamports + self.lp_fee_lamports)


class Version(msgspec.Struct, frozen=True):
    """Names one version of a trade's row: equal versions hold equal rows. (PostgreSQL writes into every version of a
    row which transaction wrote it.)"""

    signature: Signature
    ordinal: int
    xid: int
    slot: Slot
    index_in_block: int

    @property
    def place(self) -> Place:
        return self.slot, self.index_in_block, self.ordinal


class TapeStats(msgspec.Struct, frozen=True, kw_only=True):
    """Sums over a market's whole tape."""

    volume: Lamports
    trades: int
    wallets: int
    bought: Lamports
    sold: Lamports


async def of_market(
    pool: Pool, market_id: MarketId, limit: int, offset: int = 0, behind: Place | None = None
) -> list[TradeRow]:
    """The newest first, behind `behind` or from `offset` on."""
    if behind is None:
        return _rows(await pool.fetch(_OF_MARKET, market_id, limit, offset))
    return _rows(await pool.fetch(_OF_MARKET_BEHIND, market_id, limit, *behind))


async def versions(
    pool: Pool, market_id: MarketId, limit: int, offset: int = 0, behind: Place | None = None
) -> list[Version]:
    """The same page, as versions of rows: all that is needed by who has those rows already."""
    if behind is None:
        rows = await pool.fetch(_VERSIONS, market_id, limit, offset)
    else:
        rows = await pool.fetch(_VERSIONS_BEHIND, market_id, limit, *behind)
    return [Version(*row) for row in rows]


async def with_versions(pool: Pool, wanted: Sequence[Version]) -> list[tuple[Version, TradeRow]]:
    """The trades that `wanted` names, each with the version that it was read in."""
    keys = zip(*((version.slot, version.signature, version.ordinal) for version in wanted), strict=True)
    found = []
    for xid, *values in await pool.fetch(_SEVERAL, *(list(column) for column in keys)):
        row = TradeRow(**dict(zip(TradeRow.__struct_fields__, values, strict=True)))
        version = Version(row.signature, row.ordinal, xid, row.slot, row.index_in_block)
        found.append((version, row))
    return found


async def of_wallet(
    pool: Pool, wallet: Wallet, limit: int, offset: int = 0, behind: Place | None = None
) -> list[TradeRow]:
    """The same for one wallet over all markets."""
    if behind is None:
        return _rows(await pool.fetch(_OF_WALLET, wallet, limit, offset))
    return _rows(await pool.fetch(_OF_WALLET_BEHIND, wallet, limit, *behind))


async def stats(pool: Pool, market_id: MarketId) -> TapeStats:
    return TapeStats(**await pool.fetchrow(_STATS, market_id) or {})


async def points(
    pool: Pool, market_id: MarketId, start: datetime, end: datetime, limit: int
) -> list[tuple[datetime, PriceE9]]:
    """YES prices after the newest `limit` trades of the window, the oldest of them first."""
    rows = await pool.fetch(_POINTS, market_id, start, end, limit)
    return [(row["traded_at"], row["price_yes_after_e9"]) for row in reversed(rows)]


def side_of(row: TradeRow) -> Side:
    return Side(row.side)


def _rows(rows: Sequence[Record]) -> list[TradeRow]:
    return [TradeRow(**row) for row in rows]
