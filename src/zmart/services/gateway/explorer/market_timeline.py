"""Describe a market's events in words, for the timeline of its page."""

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
_TRUNCATED = "the node truncated its log"


class TimelineRow(msgspec.Struct, frozen=True, kw_only=True):
    """A row of a market's timeline: one event. `note` is empty where the title says enough."""

    title: str
    note: str
    at: datetime
    entry: TimelineEntry


def timeline_row(entry: TimelineEntry) -> TimelineRow:
    """Return the row of a timeline entry, with its title and note."""
    return TimelineRow(
        title=title(entry.event, is_debt=bool(entry.details.get("is_debt"))),
        note=note(entry.event, entry.details),
        at=parse_iso(entry.timestamp),
        entry=entry,
    )


def title(event: str, *, is_debt: bool = False) -> str:
    """Return the title of an event. `is_debt`: a withdrawal of what the market owed to another wallet."""
    return _DEBT if is_debt else _TITLES.get(event, event)


def note(event: str, details: dict[str, object]) -> str:
    """Return what an event says beyond its title, in a few words; "" if that is nothing."""
    if "instruction" in details:  # events.Unlogged: the request, not its result
        return _TRUNCATED
    match event:
        case "ProposalAggregated":
            return f"{details['likes']} for, {details['dislikes']} against"
        case "DisputeAggregated":
            return f"{details['agrees']} say wrong, {details['disagrees']} say right"
        case "MarketResolved":
            return _word(details["outcome"])
        case "MarketFinalized":
            return _final(details)
        case "LiquidityWithdrawn" | "WinningsClaimed":
            return f"{_sol(details['amount'])} SOL"
        case "SharesBought":
            return f"{_shares(details)} {_word(details['outcome'])} for {_sol(details['cost'])} SOL"
        case "SharesSold":
            return f"{_shares(details)} {_word(details['outcome'])} for {_sol(details['proceeds'])} SOL"
        case "ProposalVoteSubmitted":
            return "for" if details["vote"] else "against"
        case "DisputeVoteSubmitted":
            return "wrong" if details["vote"] else "right"
        case _:
            return ""


def _final(details: dict[str, object]) -> str:
    outcome = _word(details["final_outcome"])
    if not details["was_disputed"]:
        return outcome
    if details.get("dispute_agree") is None:
        return f"{outcome}, after a dispute"
    votes = f"{details['dispute_agree']} say wrong, {details['dispute_disagree']} say right"
    return f"{outcome}, after a dispute ({votes})"


def _word(outcome: object) -> str:
    return final_outcome_name(None if outcome is None else bool(outcome))


def _sol(amount: object) -> str:
    return numbers.sol(int(str(amount)))


def _shares(details: dict[str, object]) -> str:
    return numbers.shares(int(str(details["shares"])))
