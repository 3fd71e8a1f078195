"""Read candles: the trades of a market aggregated by intervals of time."""

from __future__ import annotations

from datetime import datetime

import msgspec

from zmart.errors import Invalid
from zmart.market.identifiers import MarketRef
from zmart.market.types import Lamports, MarketId, PriceE9
from zmart.store.pool import Pool

# The result has one row for each interval with trades. A row without a start precedes them: it holds the price before
# the window. Every row has the market's columns. A market without any trade yields one row with only these columns.
_OF_ID = """
SELECT m.market_id, m.activated_at, coalesce(m.finalized_at, m.cancelled_at) AS ended_at, c.*
FROM markets m LEFT JOIN LATERAL (
    SELECT extract(epoch FROM traded_at)::bigint / $4 * $4 AS start_s,
        (min(ARRAY[slot, index_in_block, ordinal, price_yes_after_e9]))[4] AS open_e9,
        max(price_yes_after_e9) AS high_e9, min(price_yes_after_e9) AS low_e9,
        (max(ARRAY[slot, index_in_block, ordinal, price_yes_after_e9]))[4] AS close_e9,
        sum(cost_lamports) AS volume, count(*) AS trades
    FROM trades WHERE market_id = m.market_id AND traded_at >= $2 AND traded_at < $3 GROUP BY start_s
    UNION ALL
    (SELECT NULL, price_yes_after_e9, price_yes_after_e9, price_yes_after_e9, price_yes_after_e9, 0, 0 FROM trades
        WHERE market_id = m.market_id AND traded_at < $2
        ORDER BY traded_at DESC, slot DESC, index_in_block DESC, ordinal DESC LIMIT 1)
) c ON true WHERE m.market_id = $1 ORDER BY start_s NULLS FIRST
"""
_OF_ADDRESS = _OF_ID.replace("m.market_id = $1", "m.address = $1")


class CandleRow(msgspec.Struct, frozen=True):
    """A candle: the YES prices after the trades of one interval, which begins at `start_s` (Unix seconds, chain time).
    `volume`: the sum of what the trades cost or paid out; `trades`: their number."""

    start_s: int
    open_e9: PriceE9
    high_e9: PriceE9
    low_e9: PriceE9
    close_e9: PriceE9
    volume: Lamports
    trades: int


class CandleChart(msgspec.Struct, frozen=True):
    """A market's candles in order of time, one for each interval with trades. `price_before`: the YES price after the
    last trade before the window; None if there was no trade. `activated_at`: when trading began; `ended_at`: when the
    market was finalized or cancelled; None: not yet."""

    market_id: MarketId
    activated_at: datetime | None
    ended_at: datetime | None
    price_before: PriceE9 | None
    candles: list[CandleRow]


async def of_market(
    pool: Pool, ref: MarketRef, start: datetime, end: datetime, interval_s: int
) -> CandleChart | None:
    """Return a market's candles of `interval_s` seconds; None if the market is not indexed. The window is from
    `start` until before `end`. Raises Invalid("interval") unless `interval_s` is positive."""
    if interval_s <= 0:
        raise Invalid("interval", "An interval is longer than nothing.")
    sql = _OF_ID if ref.id else _OF_ADDRESS
    rows = [tuple(row) for row in await pool.fetch(sql, str(ref), start, end, interval_s)]
    if not rows:
        return None
    market_id, activated_at, ended_at, start_s, *first = rows[0]
    before = first[3] if start_s is None else None
    return CandleChart(
        market_id, activated_at, ended_at, before, [CandleRow(*row[3:]) for row in rows if row[3] is not None]
    )
