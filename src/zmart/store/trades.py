"""Read trades in chain order, and sums over a market's trades."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime

import msgspec

from zmart.market.columns import TradeColumns
from zmart.market.types import Lamports, MarketId, PriceE9, Signature, Slot, Wallet
from zmart.store.pool import Pool, Record, fetch_existing
from zmart.store.tables import TRADES

ChainPosition = tuple[int, int, int]
"""The position of a trade on chain: slot, index in the block, ordinal in the transaction."""

_COLUMNS = TRADES.row_list("trades")
_ORDER = "ORDER BY slot DESC, index_in_block DESC, ordinal DESC"
_OF_MARKET = f"SELECT {_COLUMNS} FROM trades WHERE market_id = $1 {_ORDER} LIMIT $2 OFFSET $3"
_OF_MARKET_AFTER = f"""SELECT {_COLUMNS} FROM trades WHERE market_id = $1
AND (slot, index_in_block, ordinal) < ($3, $4, $5) {_ORDER} LIMIT $2"""
_FINGERPRINT = "SELECT string_agg(concat_ws(':', signature, ordinal, xmin), ',')"
_PAGE_FINGERPRINT = f"""{_FINGERPRINT} FROM (SELECT signature, ordinal, xmin FROM trades WHERE market_id = $1
{_ORDER} LIMIT $2 OFFSET $3) AS page"""
_PAGE_FINGERPRINT_AFTER = f"""{_FINGERPRINT} FROM (SELECT signature, ordinal, xmin FROM trades WHERE market_id = $1
AND (slot, index_in_block, ordinal) < ($3, $4, $5) {_ORDER} LIMIT $2) AS page"""
_PAGE = f"SELECT xmin, {_COLUMNS} FROM trades WHERE market_id = $1 {_ORDER} LIMIT $2 OFFSET $3"
_PAGE_AFTER = f"""SELECT xmin, {_COLUMNS} FROM trades WHERE market_id = $1
AND (slot, index_in_block, ordinal) < ($3, $4, $5) {_ORDER} LIMIT $2"""
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


class TapePage(msgspec.Struct, frozen=True):
    """A page of a market's trades, the newest first. Pages with the same `fingerprint` have the same trades, with the
    same values: it is a hash of their keys and of the transactions that wrote them (xmin of PostgreSQL)."""

    fingerprint: bytes
    trades: list[TradeRow]


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


async def page(
    pool: Pool, market_id: MarketId, limit: int, offset: int = 0, after: ChainPosition | None = None
) -> TapePage:
    """Return what `of_market` returns, with its fingerprint."""
    if after is None:
        rows = await pool.fetch(_PAGE, market_id, limit, offset)
    else:
        rows = await pool.fetch(_PAGE_AFTER, market_id, limit, *after)
    names = TradeRow.__struct_fields__
    trades = [TradeRow(**dict(zip(names, values, strict=True))) for _, *values in rows]
    keys = (f"{trade.signature}:{trade.ordinal}:{row[0]}" for row, trade in zip(rows, trades, strict=True))
    return TapePage(_hash(",".join(keys)), trades)


async def page_fingerprint(
    pool: Pool, market_id: MarketId, limit: int, offset: int = 0, after: ChainPosition | None = None
) -> bytes:
    """Return the fingerprint that `page` would return now, for a caller that has kept a page."""
    if after is None:
        keys = await pool.fetchval(_PAGE_FINGERPRINT, market_id, limit, offset)
    else:
        keys = await pool.fetchval(_PAGE_FINGERPRINT_AFTER, market_id, limit, *after)
    return _hash(keys or "")


def _hash(text: str) -> bytes:
    return hashlib.sha256(text.encode(), usedforsecurity=False).digest()


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
    return TapeTotals(**await fetch_existing(pool, _STATS, market_id))


async def points(
    pool: Pool, market_id: MarketId, start: datetime, end: datetime, limit: int
) -> list[tuple[datetime, PriceE9]]:
    """Return (time, YES price after it) of the newest `limit` trades from `start` until before `end`, oldest first."""
    rows = await pool.fetch(_POINTS, market_id, start, end, limit)
    return [(row["traded_at"], row["price_yes_after_e9"]) for row in reversed(rows)]


def _rows(rows: Sequence[Record]) -> list[TradeRow]:
    return [TradeRow(**row) for row in rows]
