"""A market's events in words."""

from __future__ import annotations

from datetime import datetime

import msgspec

from zmart.client.shapes.markets import TimelineEntry
from zmart.market.outcomes import final_outcome_name
from zmart.market.times import parse_iso
from zmart.services.gateway.explorer import numbers

_TITLES = {
    "MarketCreated": "Proposed",
    "ProposalAggregated": "Votes counted",
    "ProposalApproved": "Approved",
    "MarketActivated": "Open for trading",
    "MarketResolved": "Outcome proposed",
    "DisputeInitiated": "Disputed",
    "DisputeAggregated": "Dispute counted",
    "MarketFinalized": "Final",
    "MarketCancelled": "Cancelled",
    "LiquidityWithdrawn": "Liquidity withdrawn",
    "ProposalVoteSubmitted": "Vote on chain",
    "DisputeVoteSubmitted": "Dispute vote on chain",
    "SharesBought": "Bought",
    "SharesSold": "Sold",
    "WinningsClaimed": "Winnings claimed",
    "GlobalConfigInitialized": "Program set up",
    "ConfigUpdated": "Rules changed",
    "ProtocolPauseStatusChanged": "Paused or resumed",
}


_DEBT = "Reward or fees withdrawn"
_CUT = "the node cut its log"


class TimelineRow(msgspec.Struct, frozen=True, kw_only=True):
    """One step of a market's life; `note` is empty where the title says all."""

    title: str
    note: str
    at: datetime
    entry: TimelineEntry


def timeline_row(entry: TimelineEntry) -> TimelineRow:
    return TimelineRow(
        title=title(entry.event, is_debt=bool(entry.details.get("is_debt"))),
        note=note(entry.event, entry.details),
        at=parse_iso(entry.timestamp),
        entry=entry,
    )


def title(event: str, *, is_debt: bool = False) -> str:
    """`is_debt`: a withdrawal by another wallet than the creator, of what the market owed it."""
    return _DEBT if is_debt else _TITLES.get(event, event)


def note(event: str, said: dict[str, object]) -> str:
    """What an event says beyond its name; "" when that is nothing."""
    if "instruction" in said:  # events.Unlogged: what was asked for, not what came of it
        return _CUT
    match event:
        case "ProposalAggregated":
            return f"{said['likes']} for, {said['dislikes']} against"
        case "DisputeAggregated":
            return f"{said['agrees']} agreed, {said['disagrees']} disagreed"
        case "MarketResolved":
            return _word(said["outcome"])
        case "MarketFinalized":
            return _final(said)
        case "LiquidityWithdrawn" | "WinningsClaimed":
            return f"{_sol(said['amount'])} SOL"
        case "SharesBought":
            return f"{_shares(said)} {_word(said['outcome'])} for {_sol(said['cost'])} SOL"
        case "SharesSold":
            return f"{_shares(said)} {_word(said['outcome'])} for {_sol(said['proceeds'])} SOL"
        case "ProposalVoteSubmitted":
            return "for" if said["vote"] else "against"
        case "DisputeVoteSubmitted":
            return "agrees" if said["vote"] else "disagrees"
        case _:
            return ""


def _final(said: dict[str, object]) -> str:
    outcome = _word(said["final_outcome"])
    if not said["was_disputed"]:
        return outcome
    if said.get("dispute_agree") is None:
        return f"{outcome}, after a dispute"
    return f"{outcome}, after a dispute ({said['dispute_agree']} to {said['dispute_disagree']})"


def _word(outcome: object) -> str:
    return final_outcome_name(None if outcome is None else bool(outcome))


def _sol(amount: object) -> str:
    return numbers.sol(int(str(amount)))


def _shares(said: dict[str, object]) -> str:
    return numbers.shares(int(str(said["shares"])))
