"""Choose the times at which the history of a wallet's value reads the prices of the markets that it held."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

import msgspec

from zmart.market.types import MarketId
from zmart.store.holdings import SettledPosition, TradedBefore
from zmart.store.trades import TradeRow

_MOST_TIMES = 100
_FEWEST_TIMES = 4
_MOST_PRICES = 1_000
"""How many prices are read: with more than 10 markets there are fewer times, with more than 250 fewer markets."""

_BEFORE = timedelta(seconds=1)


class _Held(msgspec.Struct):
    """The time in which a wallet held shares of a market. `shares`: how many of both sides so far."""

    since: datetime
    until: datetime
    shares: int


def of(
    tape: Sequence[TradeRow],
    earlier: Sequence[TradedBefore],
    settled: Iterable[SettledPosition],
    present: datetime,
) -> list[tuple[MarketId, datetime]]:
    """Return markets and times, within the range from the first trade of `tape` (oldest first) until `present`.

    The times divide the range equally. Each market has those in which the wallet held shares of it, until its end; the
    markets that were traded last come first, and at most 1,000 pairs are returned.
    """
    held = _held(tape, earlier, present)
    for row in settled:
        if row.market_id in held:
            held[row.market_id].until = min(held[row.market_id].until, row.finalized_at)
    newest = list(held.items())[::-1][: _MOST_PRICES // _FEWEST_TIMES]
    times = _times(tape[0].traded_at, present, min(_MOST_TIMES, _MOST_PRICES // len(newest)))
    return [(market, at) for market, one in newest for at in times if one.since <= at < one.until]


def _held(
    tape: Sequence[TradeRow], earlier: Sequence[TradedBefore], present: datetime
) -> dict[MarketId, _Held]:
    """Return the markets in the order of their last trades."""
    held: dict[MarketId, _Held] = {}
    for sums in earlier:
        since, other_side = tape[0].traded_at - _BEFORE, held.pop(sums.market_id, None)
        shares = sums.bought - sums.sold + (other_side.shares if other_side else 0)
        held[sums.market_id] = _Held(since, present, shares)
    for row in tape:
        before = held.pop(row.market_id, None)
        shares = (row.shares if row.side == "buy" else -row.shares) + (before.shares if before else 0)
        since, until = before.since if before else row.traded_at, present if shares > 0 else row.traded_at
        held[row.market_id] = _Held(since, until, shares)
    return held


def _times(start: datetime, end: datetime, parts: int) -> list[datetime]:
    """Return a time just before `start`, and the whole seconds that divide the range into `parts` parts."""
    span_s = max((end - start).total_seconds(), 0)
    seconds = sorted({int(span_s * part / parts) for part in range(1, parts)})
    return [start - _BEFORE, *(start + timedelta(seconds=second) for second in seconds)]
