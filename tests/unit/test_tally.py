"""Vote counts, basis points and thresholds are computed in integers, as the on-chain program does."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zmart.market.tally import MAX_COUNT, Tally, TallyMemo, parse_memo
from zmart.market.types import Bps, ChainTime, Slot, VoteKind

COUNTS = st.integers(0, MAX_COUNT)
SEVENTY, SIXTY = Bps(7000), Bps(6000)


@pytest.mark.parametrize(
    ("votes_for", "total", "bps"),
    [(699, 1000, 6990), (6999, 10_000, 6999), (7, 10, 7000), (2, 3, 6666), (1, 1, 10_000), (0, 5, 0)],
)
def test_basis_points_are_floored(votes_for: int, total: int, bps: int) -> None:
    assert Tally(votes_for, total - votes_for).bps == bps


@pytest.mark.parametrize(
    ("tally", "threshold", "met"),
    [
        (Tally(6999, 3001), SEVENTY, False),
        (Tally(7000, 3000), SEVENTY, True),
        (Tally(69_999, 30_001), SEVENTY, False),
        (Tally(5999, 4001), SIXTY, False),
        (Tally(6000, 4000), SIXTY, True),
        (Tally(3, 2), SIXTY, True),
    ],
)
def test_a_threshold_is_met_at_it_and_not_below(tally: Tally, threshold: Bps, met: bool) -> None:
    assert tally.reaches(threshold) is met


def test_without_votes_no_threshold_is_met() -> None:
    assert Tally(0, 0).bps == 0
    assert not Tally(0, 0).reaches(Bps(0))
    assert Tally(0, 1).reaches(Bps(0))


@given(COUNTS, COUNTS, st.integers(0, 10_000))
def test_meeting_a_threshold_is_a_comparison_of_products(
    votes_for: int, against: int, threshold: int
) -> None:
    tally = Tally(votes_for, against)
    expected = tally.total > 0 and votes_for * 10_000 >= threshold * tally.total
    assert tally.reaches(Bps(threshold)) is expected


NUMBERS = st.integers(0, 10**18 - 1)
RULES = st.sampled_from(["open", "funded;50000000", "staked;1", "listed;bafkreigh2akiscaildc"])


@given(st.sampled_from(VoteKind), NUMBERS, st.binary(min_size=32, max_size=32), NUMBERS, NUMBERS, RULES)
def test_the_memo_of_a_tally_reads_back(
    kind: VoteKind, size: int, root: bytes, closed_at: int, closed_slot: int, rule: str
) -> None:
    first = TallyMemo(kind, size, root.hex())
    assert parse_memo(first.text()) == first
    second = TallyMemo(kind, size, root.hex(), ChainTime(closed_at), Slot(closed_slot), rule)
    assert parse_memo(second.text()) == second


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hello",
        "zmart:tally:v2:proposal:1:" + "0" * 64,
        "zmart:tally:v1:proposal:1:" + "0" * 64 + ":5:6:open",
        "zmart:tally:v2:proposal:1:" + "0" * 64 + ":5:6:",
        "zmart:tally:v2:proposal:1:" + "0" * 64 + ":05:6:open",
        "zmart:tally:v2:proposal:1:" + "0" * 64 + ":5:-6:open",
        "zmart:tally:v2:proposal:1:" + "0" * 64 + ":5:6:open:",
        "zmart:tally:v2:proposal:1:" + "0" * 64 + ":5:6:staked;5 0",
        "zmart:tally:v3:proposal:1:" + "0" * 64 + ":5:6:open",
        "zmart:tally:v1:proposal:01:" + "0" * 64,
        "zmart:tally:v1:proposal:1:" + "0" * 62,
        "zmart:tally:v1:proposal:1:" + "A" * 64,
        "zmart:tally:v1:other:1:" + "0" * 64,
        "zmart:tally:v1:proposal:-1:" + "0" * 64,
        "zmart:tally:v1:proposal:1:" + "0" * 64 + ":",
        "zmart:tally:v1:proposal:\N{SUPERSCRIPT TWO}:" + "0" * 64,
    ],
)
def test_any_other_memo_is_not_one_of_a_tally(text: str) -> None:
    assert parse_memo(text) is None
