"""Name sides, outcomes and choices of votes as clients read them.

store/outcomes.py has the words of the database.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from zmart.market.types import VoteKind

SideName = Literal["YES", "NO"]
FinalOutcomeName = Literal["YES", "NO", "INVALID"]
ChoiceName = Literal["like", "dislike", "agree", "disagree"]

_CHOICES: Mapping[tuple[VoteKind, bool], ChoiceName] = {
    (VoteKind.PROPOSAL, True): "like",
    (VoteKind.PROPOSAL, False): "dislike",
    (VoteKind.DISPUTE, True): "agree",
    (VoteKind.DISPUTE, False): "disagree",
}
VOTES: Mapping[str, tuple[VoteKind, bool]] = {choice: vote for vote, choice in _CHOICES.items()}
"""The vote's kind and its boolean value for each choice."""


def side_name(outcome: bool) -> SideName:
    """Return the name of a side of a market; True is YES."""
    return "YES" if outcome else "NO"


def final_outcome_name(outcome: bool | None) -> FinalOutcomeName:
    """Return the name of a finalized market's outcome; None, for no outcome, is INVALID."""
    return "INVALID" if outcome is None else side_name(outcome)


def choice_name(kind: VoteKind, vote: bool) -> ChoiceName:
    """Return a vote as a word. In a dispute, agree means that the proposed outcome is wrong."""
    return _CHOICES[kind, vote]
