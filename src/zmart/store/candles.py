"""Read candles: the trades of a market aggregated by intervals of time."""

from __future__ import annotations

from datetime import datetime

import msgspec

from zmart.errors import Invalid
from zmart.market.identifiers import MarketRef
from zmart.market.types import Lamports, MarketId, PriceE9
from zmart.store.pool import Pool

# The first row has the market's columns, and as close_e9 the price before the window. Each further row is a candle; in
# these the market's columns are NULL, which costs nothing to read.
_OF_ID = """
WITH market AS (
    SELECT market_id, activated_at, coalesce(finalized_at, cancelled_at) AS ended_at FROM markets WHERE market_id = $1
)
SELECT market_id, activated_at, ended_at,
    (SELECT max(traded_at) FROM trades WHERE market_id = market.market_id) AS traded_at,
    NULL AS start_s, NULL AS open_e9, NULL AS high_e9, NULL AS low_e9,
    (SELECT price_yes_after_e9 FROM trades WHERE market_id = market.market_id AND traded_at < $2
        ORDER BY traded_at DESC, slot DESC, index_in_block DESC, ordinal DESC LIMIT 1) AS close_e9,
    NULL AS volume, NULL AS trades
FROM market
UNION ALL
SELECT NULL, NULL, NULL, NULL, candle.* FROM market, LATERAL (
    SELECT extract(epoch FROM traded_at)::bigint / $4 * $4 AS start_s,
        (min(ARRAY[slot, index_in_block, ordinal, price_yes_after_e9]))[4] AS open_e9,
        max(price_yes_after_e9) AS high_e9, min(price_yes_after_e9) AS low_e9,
        (max(ARRAY[slot, index_in_block, ordinal, price_yes_after_e9]))[4] AS close_e9,
        sum(cost_lamports) AS volume, count(*) AS trades
    FROM trades WHERE market_id = market.market_id AND traded_at >= $2 AND traded_at < $3 GROUP BY start_s
) AS candle ORDER BY start_s NULLS FIRST
"""
_OF_ADDRESS = _OF_ID.replace("market_id = $1", "address = $1")


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
    market was finalized or cancelled; `traded_at`: when it was last traded; None: not yet."""

    market_id: MarketId
    activated_at: datetime | None
    ended_at: datetime | None
    traded_at: datetime | None
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
    rows = await pool.fetch(sql, str(ref), start, end, interval_s)
    if not rows:
        return None
    market_id, activated_at, ended_at, traded_at, *_, price_before, _, _ = rows[0]
    return CandleChart(
        market_id, activated_at, ended_at, traded_at, price_before, [CandleRow(*row[4:]) for row in rows[1:]]
    )
