"""Fold a market's events into the state of its accounts.

The fold is pure: a market, a position, one event and the rules determine the next market and position. The result
equals the accounts on chain field for field; `zmart indexer audit` compares them.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
from msgspec.structs import replace

from zmart.errors import ZmartError
from zmart.market import events as e
from zmart.market.fold_config import chain_key
from zmart.market.fold_handlers import HANDLERS, FoldRules, created
from zmart.market.fold_state import FoldedTrade, FoldedVote, FoldStep, MarketFold, PositionFold
from zmart.market.lifecycle import FoldError, next_state
from zmart.market.types import Wallet
from zmart.market.unlogged import complete

__all__ = ["FoldRules", "Folded", "ImpossibleEvent", "apply", "fold"]


class ImpossibleEvent(FoldError):
    """Report an error of a fold together with the event that caused it."""

    def __init__(self, event: e.ChainEvent, reason: ZmartError) -> None:
        name = e.kind_of(event.event).__name__
        super().__init__(f"{name} {event.signature}:{event.ordinal} in slot {event.slot}: {reason}")
        self.event = event


class Folded(msgspec.Struct):
    """Hold the result of a fold: a market, the positions that its events change, and the rows that they add.

    `market` is None before its first event. `positions` has the position of each wallet.
    """

    market: MarketFold | None = None
    positions: dict[Wallet, PositionFold] = msgspec.field(default_factory=dict)
    trades: list[FoldedTrade] = msgspec.field(default_factory=list)
    votes: list[FoldedVote] = msgspec.field(default_factory=list)


def fold(state: Folded, events: Iterable[e.ChainEvent], rules: FoldRules) -> None:
    """Apply events of one market, in chain order, to `state`, which is changed in place.

    Raises ImpossibleEvent; `state` then holds the result of the events before that one.
    """
    for event in events:
        user = getattr(event.event, "user", None)
        try:
            step = apply(state.market, state.positions.get(user) if user else None, event, rules)
        except ZmartError as reason:
            raise ImpossibleEvent(event, reason) from reason
        state.market = step.market
        if step.position is not None:
            state.positions[step.position.wallet] = step.position
        if isinstance(step.row, FoldedTrade):
            state.trades.append(step.row)
        elif step.row is not None:
            state.votes.append(step.row)


def apply(
    market: MarketFold | None, position: PositionFold | None, event: e.ChainEvent, rules: FoldRules
) -> FoldStep:
    """Return the market, the position and the row after one event.

    `market` is None before its first event. `position` is that of the event's user, None if the user has none. Raises
    FoldError or PricingError if the event is impossible.
    """
    body = event.event
    if isinstance(body, e.MarketCreated):
        if market is not None:
            raise FoldError("the market exists already")
        return FoldStep(created(body, event, rules))
    if market is None:
        raise FoldError("its market has not been created")
    if isinstance(body, e.Unlogged):
        config = rules.configs.at(chain_key(event))
        body = complete(body, market, config, rules.model, rules.books)
        event = replace(event, event=body)
    base = replace(
        market,
        state=next_state(market.state, body),
        updated_slot=event.slot,
        events_count=market.events_count + 1,
    )
    return HANDLERS[type(body)](base, position, event, rules)
