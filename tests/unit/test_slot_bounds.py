"""Slots and times are accepted if the chain can have reached them, and refused otherwise."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zmart.chain.clock import ChainClock
from zmart.chain.rpc_answer import BadAnswer
from zmart.chain.slot_bounds import AHEAD_S, LAG_S, MARGIN_SLOTS, PUBLIC_CLUSTERS, SLOTS_PER_S, SlotBounds

TIP = 380_000_000
DAY_SLOTS = 216_000
MAINNET = next(genesis for genesis, name in PUBLIC_CLUSTERS.items() if name == "mainnet-beta")
LOCAL = "a genesis of one's own"


def now() -> int:
    return int(time.time())


def at(slot: int = TIP, age_s: int = 0) -> ChainClock:
    return ChainClock(slot, now() - age_s)


def bounds(*known: ChainClock, genesis: str = MAINNET) -> SlotBounds:
    found = SlotBounds()
    found.belong_to(genesis)
    for clock in known:
        found.learn(clock)
    return found


@pytest.mark.parametrize(("slot", "age_s"), [(2**62, 0), (TIP, -2 * AHEAD_S), (2_500_000_000, 0)])
def test_the_first_clock_of_a_cluster_is_bounded_by_its_age(slot: int, age_s: int) -> None:
    with pytest.raises(BadAnswer):
        bounds(at(slot, age_s))


@given(
    pauses_s=st.lists(st.integers(0, 10**6), min_size=1, max_size=10),
    slots_per_s=st.floats(0, 5.0),
    behind_s=st.integers(0, 3_600),
)
def test_a_cluster_of_any_pace_is_accepted_after_any_pause(
    pauses_s: list[int], slots_per_s: float, behind_s: int
) -> None:
    """A cluster is accepted at up to 5 slots a second, with a Clock up to an hour behind, after any pauses."""
    start, passed_s = now() - sum(pauses_s) - behind_s, 0
    found = bounds(ChainClock(TIP, start))
    for pause_s in pauses_s:
        passed_s += pause_s
        slot = TIP + int(passed_s * slots_per_s)
        found.learn(ChainClock(slot, start + passed_s))
        found.check_slot(slot)


@pytest.mark.parametrize("lie", [TIP + MARGIN_SLOTS + SLOTS_PER_S * 5, TIP + DAY_SLOTS, 2**62])
def test_no_slot_is_accepted_before_its_time(lie: int) -> None:
    with pytest.raises(BadAnswer):
        bounds(at()).check_slot(lie)
    with pytest.raises(BadAnswer):
        bounds(at(), at(lie))


def test_one_who_lags_neither_lowers_the_bound_nor_keeps_the_next_out() -> None:
    behind = at(TIP - DAY_SLOTS, age_s=86_400)
    bounds(behind, at()).check_slot(TIP + 100)
    bounds(at(), behind).check_slot(TIP + 100)


def test_a_machine_whose_clock_is_behind_accepts_the_chain_as_it_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monotonic = time.monotonic()
    found = bounds(at(age_s=-AHEAD_S + 10))
    for minutes in range(1, 60):
        monkeypatch.setattr(time, "monotonic", lambda minutes=minutes: monotonic + 60 * minutes)
        found.learn(at(TIP + 150 * minutes, age_s=-AHEAD_S + 10))


@pytest.mark.parametrize(
    "clock",
    [
        at(1_000 + 365 * DAY_SLOTS * 4, age_s=-365 * 86_400),  # advanced by a year, at 100 ms a slot
        at(1_001, age_s=0),  # restarted after a pause: the time advanced, the slots did not
        at(1_000 + DAY_SLOTS, age_s=86_400),  # restarted, then moved to its former time
        at(900, age_s=2 * 86_400),  # moved back
    ],
)
def test_a_local_chain_may_jump(clock: ChainClock) -> None:
    found = bounds(at(1_000, age_s=86_400), clock, genesis=LOCAL)
    found.check_slot(clock.slot + 100)


def test_on_a_local_chain_a_time_without_slots_is_refused() -> None:
    with pytest.raises(BadAnswer, match="ahead of this machine's clock"):
        bounds(at(1_000), at(1_010, age_s=-175 * 365 * 86_400), genesis=LOCAL)


def test_what_was_accepted_before_the_chain_was_known_is_judged_again() -> None:
    found = SlotBounds()
    found.learn(at(age_s=-175 * 365 * 86_400))
    found.belong_to(MAINNET)
    assert found.ceiling() is None


def test_an_old_clock_is_refused_where_it_would_do_harm_and_only_of_a_cluster() -> None:
    bounds(at()).check_recent(at(age_s=LAG_S - 5))
    with pytest.raises(BadAnswer, match="behind this machine's"):
        bounds(at()).check_recent(at(age_s=LAG_S + 5))
    bounds(at(), genesis=LOCAL).check_recent(at(age_s=10**9))
