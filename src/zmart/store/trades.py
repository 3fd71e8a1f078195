"""Read trades in chain order, and sums over a market's trades."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import msgspec

from zmart.market.columns import TradeColumns
from zmart.market.types import Lamports, MarketId, PriceE9, Side, Signature, Slot, Wallet
from zmart.store.pool import Pool, Record
from zmart.store.tables import TRADES

ChainPosition = tuple[int, int, int]
"""The position of a trade on chain: slot, index in the block, ordinal in the transaction."""

_COLUMNS = TRADES.row_list("trades")
_ORDER = "ORDER BY slot DESC, index_in_block DESC, ordinal DESC"
_OF_MARKET = f"SELECT {_COLUMNS} FROM trades WHERE market_id = $1 {_ORDER} LIMIT $2 OFFSET $3"
_OF_MARKET_AFTER = f"""SELECT {_COLUMNS} FROM trades WHERE market_id = $1
AND (slot, index_in_block, ordinal) < ($3, $4, $5) {_ORDER} LIMIT $2"""
_VERSION = "signature, ordinal, xmin, slot, index_in_block"
_VERSIONS = f"SELECT {_VERSION} FROM trades WHERE market_id = $1 {_ORDER} LIMIT $2 OFFSET $3"
_VERSIONS_AFTER = f"""SELECT {_VERSION} FROM trades WHERE market_id = $1
AND (slot, index_in_block, ordinal) < ($3, $4, $5) {_ORDER} LIMIT $2"""
_PAGE = f"SELECT xmin, {_COLUMNS} FROM trades WHERE market_id = $1 {_ORDER} LIMIT $2 OFFSET $3"
_PAGE_AFTER = f"""SELECT xmin, {_COLUMNS} FROM trades WHERE market_id = $1
AND (slot, index_in_block, ordinal) < ($3, $4, $5) {_ORDER} LIMIT $2"""
_SEVERAL = f"""SELECT xmin, {_COLUMNS} FROM trades
WHERE (slot, signature, ordinal) IN (SELECT * FROM unnest($1::bigint[], $2::text[], $3::integer[]))"""
_OF_WALLET = f"SELECT {_COLUMNS} FROM trades WHERE wallet = $1 {_ORDER} LIMIT $2 OFFSET $3"
_OF_WALLET_AFTER = f"""SELECT {_COLUMNS} FROM trades WHERE wallet = $1
AND (slot, index_in_block, ordinal) < ($3, $4, $5) {_ORDER} LIMIT $2"""
_OF_TRANSACTION = f"SELECT {_COLUMNS} FROM trades WHERE slot = $1 AND signature = $2"
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
    """A trade, with the columns of the table `trades`."""

    @property
    def position(self) -> ChainPosition:
        """The position of the trade on chain, by which trades are ordered."""
        return self.slot, self.index_in_block, self.ordinal

    @property
    def fees_lamports(self) -> Lamports:
        """The sum of the trade's fees: protocol, resolver and liquidity provider."""
        return Lamports(self.protocol_fee_lamports + self.resolver_fee_lamports + self.lp_fee_lamports)


class TradeVersion(msgspec.Struct, frozen=True):
    """Identify one version of a trade's row; equal versions mean equal rows. `xid` is the xmin of PostgreSQL."""

    signature: Signature
    ordinal: int
    xid: int
    slot: Slot
    index_in_block: int

    @property
    def position(self) -> ChainPosition:
        """The position of the trade on chain, by which trades are ordered."""
        return self.slot, self.index_in_block, self.ordinal


class TapeTotals(msgspec.Struct, frozen=True, kw_only=True):
    """Sums over all trades of a market, in lamports. `bought` was paid for purchases, fees included; `sold` was
    received from sales, fees deducted; `volume` is both."""

    volume: Lamports
    trades: int
    wallets: int
    bought: Lamports
    sold: Lamports


async def of_market(
    pool: Pool, market_id: MarketId, limit: int, offset: int = 0, after: ChainPosition | None = None
) -> list[TradeRow]:
    """Return trades of the market, the newest first: those older than the position `after`, or from `offset` on."""
    if after is None:
        return _rows(await pool.fetch(_OF_MARKET, market_id, limit, offset))
    return _rows(await pool.fetch(_OF_MARKET_AFTER, market_id, limit, *after))


async def versions(
    pool: Pool, market_id: MarketId, limit: int, offset: int = 0, after: ChainPosition | None = None
) -> list[TradeVersion]:
    """Return the page that `of_market` returns, but as versions of rows, for a caller that has cached the rows."""
    if after is None:
        rows = await pool.fetch(_VERSIONS, market_id, limit, offset)
    else:
        rows = await pool.fetch(_VERSIONS_AFTER, market_id, limit, *after)
    return [TradeVersion(*row) for row in rows]


async def with_versions(pool: Pool, requested: Sequence[TradeVersion]) -> list[tuple[TradeVersion, TradeRow]]:
    """Return the rows of the trades that `requested` names (at least one), each with its current version."""
    keys = zip(*((version.slot, version.signature, version.ordinal) for version in requested), strict=True)
    return [_versioned(row) for row in await pool.fetch(_SEVERAL, *(list(column) for column in keys))]


async def page_with_versions(
    pool: Pool, market_id: MarketId, limit: int, offset: int = 0, after: ChainPosition | None = None
) -> list[tuple[TradeVersion, TradeRow]]:
    """Return the page that `of_market` returns, each row with its version, for a caller that caches the rows."""
    if after is None:
        rows = await pool.fetch(_PAGE, market_id, limit, offset)
    else:
        rows = await pool.fetch(_PAGE_AFTER, market_id, limit, *after)
    return [_versioned(row) for row in rows]


def _versioned(row: Record) -> tuple[TradeVersion, TradeRow]:
    xid, *values = row
    trade = TradeRow(**dict(zip(TradeRow.__struct_fields__, values, strict=True)))
    return TradeVersion(trade.signature, trade.ordinal, xid, trade.slot, trade.index_in_block), trade


async def of_wallet(
    pool: Pool, wallet: Wallet, limit: int, offset: int = 0, after: ChainPosition | None = None
) -> list[TradeRow]:
    """Return trades of the wallet, the newest first: those older than the position `after`, or from `offset` on."""
    if after is None:
        return _rows(await pool.fetch(_OF_WALLET, wallet, limit, offset))
    return _rows(await pool.fetch(_OF_WALLET_AFTER, wallet, limit, *after))


async def of_transaction(pool: Pool, slot: Slot, signature: Signature) -> list[TradeRow]:
    """Return the trades of one transaction, which has this slot and signature."""
    return _rows(await pool.fetch(_OF_TRANSACTION, slot, signature))


async def stats(pool: Pool, market_id: MarketId) -> TapeTotals:
    """Return the sums over all trades of the market."""
    return TapeTotals(**await pool.fetchrow(_STATS, market_id) or {})


async def points(
    pool: Pool, market_id: MarketId, start: datetime, end: datetime, limit: int
) -> list[tuple[datetime, PriceE9]]:
    """Return (time, YES price after it) of the newest `limit` trades from `start` until before `end`, oldest first."""
    rows = await pool.fetch(_POINTS, market_id, start, end, limit)
    return [(row["traded_at"], row["price_yes_after_e9"]) for row in reversed(rows)]


def side_of(row: TradeRow) -> Side:
    """Return the side of the trade: whether shares were bought or sold."""
    return Side(row.side)


def _rows(rows: Sequence[Record]) -> list[TradeRow]:
    return [TradeRow(**row) for row in rows]
