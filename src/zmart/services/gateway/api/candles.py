"""Build price candles without gaps: an interval without trades repeats the close of the interval before it."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Literal

import msgspec

from zmart.client.shapes.tape import Candle, Candles
from zmart.errors import Invalid
from zmart.market.amounts import price_text
from zmart.market.identifiers import MarketRef
from zmart.market.times import iso_of_seconds
from zmart.market.types import PRICE_ONE, Lamports, PriceE9
from zmart.services.gateway.api import lookup
from zmart.services.gateway.http.recent_changes import ResponseRows
from zmart.services.gateway.http.responses import Encoded, encoded_around, with_text_amounts
from zmart.store import candles
from zmart.store.candles import CandleChart
from zmart.store.pool import Pool

Interval = Literal["1m", "5m", "1h", "1d"]
INTERVALS_S: dict[Interval, int] = {"1m": 60, "5m": 300, "1h": 3600, "1d": 86_400}
MAX_CANDLES = 1000
_USUAL_CANDLES = 200
_FIRST_END = datetime(2, 1, 1, tzinfo=UTC)
_LAST_END_S = int(datetime(9999, 12, 31, tzinfo=UTC).timestamp())
"""The latest end of a window, in Unix seconds. With it and _FIRST_END both ends of a window are valid dates."""
_BEGINS = b'{"timestamp":"'


def seconds_to_next(interval: Interval) -> float:
    """Return the seconds until the next candle of the interval begins, at most 60."""
    step_s = INTERVALS_S[interval]
    return min(60.0, step_s - time.time() % step_s)


async def of(
    pool: Pool, ref: MarketRef, interval: Interval, start: str | None, end: str | None, *, text: bool = False
) -> Encoded[Candles]:
    """Return a market's YES-price candles of a window as JSON.

    `start` and `end` are ISO 8601 or milliseconds since 1970. By default the window ends now, with the newest trade (or
    the activation) if the chain's clock is ahead of ours, or when the market was finalized or cancelled, unless that
    was before `start`. By default it begins 200 intervals earlier. `text`: amounts are text instead of integers. Raises
    Invalid for a wrong time, an empty window, or more than MAX_CANDLES intervals; NotFound for an unknown market.
    """
    step_s = INTERVALS_S[interval]
    now = datetime.now(UTC)
    # The chain's clock may be ahead: whether a start is later than the market's newest trade is known with its chart.
    since = None if start is None else lookup.moment("start", start, now)
    first_end = now if since is None or since < now else _after(since, step_s)
    window = _window(start, end, first_end, step_s)
    chart = await _chart(pool, ref, window, step_s)
    until = _usual_end(chart, now)
    is_after_start = start is None or until.timestamp() > window.start
    # Rare: most markets are still traded, and most charts begin in the past.
    if end is None and until != first_end and (is_after_start or first_end != now):
        window = _window(start, end, until, step_s)
        chart = await _chart(pool, ref, window, step_s)
    if len(window) > MAX_CANDLES:
        raise Invalid("start", f"The window has more than {MAX_CANDLES} candles: choose a longer interval.")
    items, count = _filled(chart, window, text=text)
    return encoded_around(
        Candles,
        ResponseRows((chart.market_id,)),
        market_id=chart.market_id,
        interval=interval,
        start=iso_of_seconds(window.start),
        end=iso_of_seconds(window.stop),
        candles=items,
        count=count,
    )


def _usual_end(chart: CandleChart, now: datetime) -> datetime:
    if chart.ended_at is not None:
        return chart.ended_at
    newest = chart.traded_at or chart.activated_at
    return now if newest is None else max(now, newest + timedelta(seconds=1))


def _after(start: datetime, step_s: int) -> datetime:
    """Return an end of a window from `start` on, one interval or more later, or the last possible one."""
    return datetime.fromtimestamp(min(start.timestamp() + step_s, _LAST_END_S), UTC)


def _window(start: str | None, end: str | None, until: datetime, step_s: int) -> range:
    """Return the starts of the window's intervals, in Unix seconds. `until` is the default of `end`. Raises Invalid for
    a wrong time or an empty window."""
    until = lookup.moment("end", end, until)
    usual = max(until, _FIRST_END) - timedelta(seconds=step_s * _USUAL_CANDLES)
    since = lookup.moment("start", start, usual)
    first_s = int(since.timestamp()) // step_s * step_s
    last_s = min(-(-int(until.timestamp()) // step_s) * step_s, _LAST_END_S)
    if last_s <= first_s:
        raise Invalid("end", "end must be after start.")
    return range(first_s, last_s, step_s)


async def _chart(pool: Pool, ref: MarketRef, window: range, step_s: int) -> CandleChart:
    """Read the window's intervals with trades. Of a window of more than MAX_CANDLES intervals only the last MAX_CANDLES
    are read: the caller refuses it, but first needs the market's times. Raises NotFound for an unknown market."""
    window = window[-MAX_CANDLES:]
    start, end = datetime.fromtimestamp(window.start, UTC), datetime.fromtimestamp(window.stop, UTC)
    return lookup.required(await candles.of_market(pool, ref, start, end, step_s), ref)


def _filled(chart: CandleChart, window: range, *, text: bool) -> tuple[msgspec.Raw, int]:
    """Return one candle for each interval of the window since the market's activation, as a JSON array, and their
    number. The array is empty if the market was never activated."""
    if chart.activated_at is None:
        return msgspec.Raw(b"[]"), 0
    step_s = window.step
    first_s = max(window.start, int(chart.activated_at.timestamp()) // step_s * step_s)
    begins = _begins(range(first_s, window.stop, step_s))
    price = PriceE9(PRICE_ONE // 2) if chart.price_before is None else chart.price_before
    flat = _tail(price, price, price, price, 0, 0, text)
    pieces: list[bytes] = []
    for row in chart.candles:
        at = (row.start_s - first_s) // step_s
        pieces += [begin + flat for begin in begins[len(pieces) : at]]
        close = row.close_e9
        tail = _tail(row.open_e9, row.high_e9, row.low_e9, close, row.volume, row.trades, text)
        pieces.append(begins[at] + tail)
        flat = _tail(close, close, close, close, 0, 0, text)
    pieces += [begin + flat for begin in begins[len(pieces) :]]
    return msgspec.Raw(b"[" + b",".join(pieces) + b"]"), len(pieces)


@lru_cache(maxsize=32)  # the usual window is the same for all markets
def _begins(moments_s: range) -> tuple[bytes, ...]:
    return tuple(_begin(moment_s) for moment_s in moments_s)


@lru_cache(maxsize=4_000)
def _begin(moment_s: int) -> bytes:
    return _BEGINS + iso_of_seconds(moment_s).encode()


@lru_cache(maxsize=10_000)  # past candles do not change: later requests need the same ones
def _tail(first: int, high: int, low: int, last: int, volume: int, count: int, text: bool) -> bytes:
    """Return the part of a candle's JSON that follows its timestamp. Consecutive intervals without trades have the same
    part."""
    candle = Candle(
        timestamp="",
        open_price_yes=price_text(first),
        high_price_yes=price_text(high),
        low_price_yes=price_text(low),
        close_price_yes=price_text(last),
        volume=Lamports(volume),
        trades=count,
    )
    whole = msgspec.json.encode(with_text_amounts(candle) if text else candle)
    return whole[len(_BEGINS) :]
