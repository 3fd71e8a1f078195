"""W10: text is parsed as an integer only if it is ASCII digits of bounded length."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zmart.errors import Invalid
from zmart.market.integers import MOST_DIGITS, parse_decimal
from zmart.services.gateway.api import lookup


@given(st.integers(0, 10**MOST_DIGITS - 1))
def test_every_number_of_a_bigint_is_parsed(number: int) -> None:
    assert parse_decimal(str(number)) == number


@given(
    st.text()
    | st.sampled_from(["\u00b2", "\u2460", "\u0664", "1_0", "+1", "-1", " 1", "1\n", "", "9" * 5_000])
)
def test_no_text_raises(text: str) -> None:
    found = parse_decimal(text)
    assert found is None or str(found) == (text.lstrip("0") or "0")


@pytest.mark.parametrize("text", ["\u00b2", "\u2460", "9" * 5_000, "7", "-1"])
def test_a_state_that_is_no_number_of_a_state_is_refused(text: str) -> None:
    with pytest.raises(Invalid, match="state is one of"):
        lookup.state_of(text)


@pytest.mark.parametrize("text", ["\u00b2", "9" * 5_000, "9" * 18])
def test_a_time_that_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(Invalid, match="must be an ISO 8601 time or milliseconds"):
        lookup.moment_of("end", text)
