"""Compute the value of a wallet's holdings over time, up to the chain's present."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from functools import partial

import msgspec

from zmart.client.shapes.people import ValuePoint
from zmart.market.holding_history import HoldingHistory
from zmart.market.times import iso
from zmart.market.types import Lamports, MarketId, Wallet
from zmart.market.valuation import ClaimRule
from zmart.services.gateway.api import price_samples
from zmart.store import holdings, trades
from zmart.store.holdings import PriceAt, SettledPosition, TradedBefore
from zmart.store.pool import Pool
from zmart.store.trades import TradeRow
from zmart.store.users import Results


class ValueChange(msgspec.Struct, frozen=True):
    """Something that changes the value of a wallet's holdings at a time and is no trade of the wallet."""

    at: datetime
    apply: Callable[[HoldingHistory], None]


async def of_wallet(
    pool: Pool, wallet: Wallet, limit: int, rule: ClaimRule, now: Results
) -> list[ValuePoint]:
    """Return the value of the wallet's holdings over time, oldest first; nothing for a wallet without trades.

    There is a point after each of its newest `limit` trades, after each claim and each end of a market that changed
    something, and at up to 100 times at which prices made by other wallets did. The last point is that of the chain's
    present time, and its values are those of `now`. Shares that were bought before these trades count at the average
    cost of the earlier purchases.
    """
    tape = (await trades.of_wallet(pool, wallet, limit))[::-1]
    if not tape:
        return []
    earlier = await holdings.before(pool, wallet, tape[0].position) if len(tape) == limit else []
    traded = {row.market_id for row in tape} | {sums.market_id for sums in earlier}
    settled = await holdings.settled(pool, wallet, traded)
    present = await holdings.chain_minute(pool)
    samples = price_samples.of(tape, earlier, settled, present)
    changes = sorted(
        [*_of_prices(await holdings.prices_at(pool, samples)), *_of_ends(settled, rule)],
        key=lambda change: change.at,
    )
    points = history(tape, earlier, changes)
    end = max(present, tape[-1].traded_at, *(change.at for change in changes[-1:]))
    points.append(_point(end, now.current_value, now.cost_basis, now.realized))
    return points


def history(
    tape: Sequence[TradeRow], earlier: Sequence[TradedBefore] = (), changes: Sequence[ValueChange] = ()
) -> list[ValuePoint]:
    """Return the value of a wallet's holdings after each trade of `tape`, and after each of `changes` that changed
    something since the first trade. Both are in order of time. `earlier` are the sums of the trades before `tape`."""
    held = _begun(earlier)
    points: list[ValuePoint] = []
    waiting = iter(changes)
    change = next(waiting, None)
    for row in tape:
        while change and change.at < row.traded_at:
            _add(points, held, change)
            change = next(waiting, None)
        apply = held.buy if row.side == "buy" else held.sell
        apply(row.market_id, row.outcome, row.shares, row.cost_lamports, row.price_yes_after_e9)
        points.append(_point(row.traded_at, held.value, held.invested, held.realized))
    while change:
        _add(points, held, change)
        change = next(waiting, None)
    return points


def _begun(earlier: Sequence[TradedBefore]) -> HoldingHistory:
    held = HoldingHistory()
    for sums in earlier:
        held.begin(
            sums.market_id,
            sums.outcome,
            bought=sums.bought,
            sold=sums.sold,
            paid_lamports=sums.paid,
            received_lamports=sums.received,
            price_yes_e9=sums.price_yes_e9,
        )
    return held


def _add(points: list[ValuePoint], held: HoldingHistory, change: ValueChange) -> None:
    before = (held.value, held.invested, held.realized)
    change.apply(held)
    if points and before != (held.value, held.invested, held.realized):
        points.append(_point(change.at, held.value, held.invested, held.realized))


def _of_prices(prices: Iterable[PriceAt]) -> list[ValueChange]:
    """Return one change for each time, with all prices of this time."""
    by_time: defaultdict[datetime, list[PriceAt]] = defaultdict(list)
    for price in prices:
        by_time[price.at].append(price)
    return [ValueChange(at, partial(_revalue, several)) for at, several in by_time.items()]


def _revalue(prices: Sequence[PriceAt], held: HoldingHistory) -> None:
    for price in prices:
        held.price(price.market_id, price.price_yes_e9)


def _of_ends(settled: Sequence[SettledPosition], rule: ClaimRule) -> list[ValueChange]:
    """Return the ends of the markets of these positions, each followed by the claim if there was one."""
    changes = []
    for row in settled:
        payout = row.payout(rule)
        changes.append(ValueChange(row.finalized_at, partial(_finalize, row.market_id, payout)))
        if row.claimed_at is not None:
            at = max(row.claimed_at, row.finalized_at)
            changes.append(ValueChange(at, partial(_claim, row.market_id, payout)))
    return changes


def _finalize(market_id: MarketId, payout: Lamports, held: HoldingHistory) -> None:
    held.finalize(market_id, payout)


def _claim(market_id: MarketId, payout: Lamports, held: HoldingHistory) -> None:
    held.claim(market_id, payout)


def _point(at: datetime, value: Lamports, invested: Lamports, realized: Lamports) -> ValuePoint:
    return ValuePoint(timestamp=iso(at), value=value, invested=invested, realized_pnl=realized)
