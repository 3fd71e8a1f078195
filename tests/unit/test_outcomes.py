"""Each side, outcome and choice has one name, which is the same in everything that clients read."""

from __future__ import annotations

import re
from itertools import product
from pathlib import Path

import zmart
from zmart.market.outcomes import VOTES, choice_name, final_outcome_name, side_name
from zmart.market.types import VoteKind
from zmart.market.votes import vote_of_choice

_SOURCES = Path(zmart.__file__).parent


def test_a_final_market_is_yes_no_or_invalid() -> None:
    assert [final_outcome_name(outcome) for outcome in (True, False, None)] == ["YES", "NO", "INVALID"]
    assert [side_name(outcome) for outcome in (True, False)] == ["YES", "NO"]


def test_every_vote_has_its_own_word_and_reads_back() -> None:
    votes = list(product(VoteKind, (True, False)))
    assert len({choice_name(*vote) for vote in votes}) == len(votes)
    for kind, vote in votes:
        assert VOTES[choice_name(kind, vote)] == (kind, vote)
        assert vote_of_choice(kind, choice_name(kind, vote)) is vote


def test_no_other_module_names_them() -> None:
    form = re.compile(r"[\"']YES[\"'] if |VoteKind\.\w+, (True|False)\): ")
    found = {
        str(path.relative_to(_SOURCES)) for path in _SOURCES.rglob("*.py") if form.search(path.read_text())
    }
    assert found == {"market/outcomes.py"}
