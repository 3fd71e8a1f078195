"""Define which events may happen in which state of a market, and the state that follows."""

from __future__ import annotations

from collections.abc import Mapping

from zmart.errors import ZmartError
from zmart.market import events as e
from zmart.market.types import MarketState


class FoldError(ZmartError):
    """Report that the program cannot have emitted an event in the state that the fold has.

    Either an earlier event is missing, or the rules in use are not those of the deployed program.
    """


_S = MarketState

ALLOWED_IN: Mapping[type[e.Event], frozenset[MarketState]] = {
    e.ProposalVoteSubmitted: frozenset({_S.PROPOSED}),
    e.ProposalAggregated: frozenset({_S.PROPOSED}),
    e.ProposalApproved: frozenset({_S.PROPOSED}),
    e.MarketActivated: frozenset({_S.APPROVED}),
    e.SharesBought: frozenset({_S.ACTIVE}),
    e.SharesSold: frozenset({_S.ACTIVE}),
    e.MarketResolved: frozenset({_S.ACTIVE}),
    e.DisputeInitiated: frozenset({_S.RESOLVING}),
    e.DisputeVoteSubmitted: frozenset({_S.DISPUTED}),
    e.DisputeAggregated: frozenset({_S.DISPUTED}),
    e.MarketFinalized: frozenset({_S.RESOLVING, _S.DISPUTED}),
    e.WinningsClaimed: frozenset({_S.FINALIZED}),
    e.LiquidityWithdrawn: frozenset({_S.FINALIZED, _S.CANCELLED}),
    e.MarketCancelled: frozenset({_S.PROPOSED, _S.APPROVED}),
}
"""The states of a market in which the program emits each event."""

_LEADS_TO: Mapping[type[e.Event], MarketState] = {
    e.ProposalApproved: _S.APPROVED,
    e.MarketActivated: _S.ACTIVE,
    e.MarketResolved: _S.RESOLVING,
    e.DisputeInitiated: _S.DISPUTED,
    e.MarketFinalized: _S.FINALIZED,
    e.MarketCancelled: _S.CANCELLED,
}


def next_state(state: MarketState, event: e.Event) -> MarketState:
    """Return the state after `event`. Raises FoldError if the program refuses the event in `state`."""
    kind = type(event)
    if state not in ALLOWED_IN[kind]:
        raise FoldError(f"{kind.__name__} cannot happen to a market that is {state.name}")
    if isinstance(event, e.DisputeAggregated):
        return _S.RESOLVING if event.dispute_succeeded else _S.FINALIZED
    return _LEADS_TO.get(kind, state)
