"""The explorer's texts of amounts, prices, durations and sizes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zmart.services.gateway.explorer import numbers


@pytest.mark.parametrize(
    ("lamports", "text"),
    [
        (0, "0.000"),
        (1_234_567_890_123, "1,234.568"),
        (-1_500_000_000, "−1.500"),
        (499_999, "<0.001"),
        (500_000, "0.001"),
        (-1, ">-0.001"),
        (999_999_500_000, "1,000.000"),
    ],
)
def test_sol_is_rounded_and_never_written_as_nothing_when_it_is_something(lamports: int, text: str) -> None:
    assert numbers.sol(lamports) == text


def test_gains_carry_their_sign() -> None:
    assert [numbers.gain(amount) for amount in (10**9, 0, -(10**9))] == ["+1.000", "0.000", "−1.000"]


@given(st.integers(0, 10**9))
def test_a_chance_is_off_by_half_a_tenth_at_most(price_e9: int) -> None:
    assert abs(float(numbers.cents(price_e9)) - price_e9 / 1e7) <= 0.05 + 1e-9


def test_basis_points_sizes_and_addresses_are_short() -> None:
    assert [numbers.percent(bps) for bps in (7000, 6666, 0, 10_000)] == ["70", "66.66", "0", "100"]
    assert numbers.kilobytes(2049) == "2.1 KiB"
    assert numbers.short("A" * 44) == "AAAA…AAAA"
    assert numbers.short(None) == "-"


def test_durations_changes_and_fees_are_written_in_their_units() -> None:
    seconds = (59, 60, 3600, 7199, 86_400, 259_200)
    assert [numbers.duration(each) for each in seconds] == [
        "0 minutes", "1 minute", "1 hour", "1 hour", "1 day", "3 days",
    ]  # fmt: skip
    assert [numbers.points(change) for change in (15_000_000, 0, -20_000_000)] == ["+1.5", "±0.0", "−2.0"]
    assert [numbers.precise(lamports) for lamports in (5000, 10**9, 1_000_000_001, -5000)] == [
        "0.000005", "1", "1.000000001", "−0.000005",
    ]  # fmt: skip
