"""The next step for a proposal, on both sides of every condition."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zmart.market.tally import Tally
from zmart.market.types import Bps
from zmart.services.aggregator.policy import Policy, Recorded, Step, next_step

POLICY = Policy(threshold_bps=Bps(7000), min_votes=10)
PASSING, FAILING, FEW = Tally(7, 3), Tally(6, 4), Tally(9, 0)
NOTHING = Tally(0, 0)


def recorded(tally: Tally, *, on_chain: bool = True, fresh: bool = False, last: bool = False) -> Recorded:
    return Recorded(tally, POLICY.passes(tally), on_chain, fresh, last)


@pytest.mark.parametrize(
    ("counts", "expired", "step"),
    [
        (PASSING, False, Step.COUNT),
        (FAILING, False, Step.WAIT),
        (FEW, False, Step.WAIT),
        (NOTHING, False, Step.WAIT),
        (FAILING, True, Step.COUNT),
        (NOTHING, True, Step.COUNT),
    ],
)
def test_a_first_count_is_taken_when_it_passes_or_is_too_old(
    counts: Tally, expired: bool, step: Step
) -> None:
    assert next_step(POLICY, counts, expired, None, NOTHING) is step


def test_a_planned_record_is_brought_to_the_chain_before_anything_else() -> None:
    for counts in (PASSING, FAILING):
        assert next_step(POLICY, counts, True, recorded(PASSING, on_chain=False), NOTHING) is Step.RECORD


def test_what_passes_and_is_shown_on_chain_is_approved() -> None:
    assert next_step(POLICY, PASSING, False, recorded(PASSING), PASSING) is Step.APPROVE
    more = Tally(8, 3)
    assert next_step(POLICY, more, False, recorded(PASSING), PASSING) is Step.APPROVE


def test_what_passes_by_a_count_that_a_final_closing_has_overtaken_is_counted_by_it() -> None:
    overtaken = msgspec.structs.replace(recorded(PASSING), overtaken=True)
    assert next_step(POLICY, PASSING, True, overtaken, PASSING) is Step.COUNT


def test_what_failed_and_is_too_old_is_rejected_by_a_count_taken_when_voting_was_over() -> None:
    assert next_step(POLICY, FAILING, True, recorded(FAILING), FAILING) is Step.COUNT
    assert next_step(POLICY, FAILING, True, recorded(FAILING, last=True), FAILING) is Step.REJECT
    assert next_step(POLICY, FAILING, False, recorded(FAILING), FAILING) is Step.WAIT


def test_a_turned_verdict_is_counted_again() -> None:
    assert next_step(POLICY, FAILING, False, recorded(PASSING), PASSING) is Step.COUNT
    assert next_step(POLICY, PASSING, False, recorded(FAILING), FAILING) is Step.COUNT


def test_other_counts_on_the_account_are_counted_again_once_a_node_had_time_to_show_ours() -> None:
    assert next_step(POLICY, PASSING, False, recorded(PASSING), Tally(1, 0)) is Step.COUNT
    assert next_step(POLICY, PASSING, False, recorded(PASSING, fresh=True), NOTHING) is Step.WAIT_FOR_NODE


@given(st.builds(Tally, st.integers(0, 40), st.integers(0, 40)), st.booleans())
def test_every_proposal_comes_to_rest(counts: Tally, expired: bool) -> None:
    """If the votes do not change, the steps of a proposal end in waiting, approval or rejection."""
    last: Recorded | None = None
    displayed = NOTHING
    for _ in range(4):
        step = next_step(POLICY, counts, expired, last, displayed)
        if step is Step.COUNT:
            last = recorded(counts, on_chain=False, last=expired)
        elif step is Step.RECORD:
            last, displayed = recorded(counts, last=expired), counts
        else:
            break
    ends = {Step.APPROVE} if POLICY.passes(counts) else {Step.REJECT} if expired else {Step.WAIT}
    assert step in ends
