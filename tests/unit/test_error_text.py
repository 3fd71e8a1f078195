"""Tests of the texts of errors as they are stored: whatever the text quotes, PostgreSQL takes it."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from zmart.store.error_text import MOST_CHARS, storable, storable_json

TEXTS = st.text(st.characters(exclude_categories=())) | st.sampled_from(
    ["\0", "\ud800", "\udc00x", "a" * 3_000]
)
"""Any text, also with NUL and with halves of surrogate pairs."""
VALUES = st.recursive(
    TEXTS | st.integers(-(2**40), 2**40) | st.booleans() | st.none(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=10,
)


@given(TEXTS, st.integers(0, MOST_CHARS))
def test_any_text_of_an_error_can_be_stored(text: str, most_chars: int) -> None:
    stored = storable(text, most_chars)
    assert "\0" not in stored
    assert stored.encode().decode() == stored
    assert len(stored) == min(len(text), most_chars)
    assert storable(stored, most_chars) == stored


@given(st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), max_size=MOST_CHARS))
def test_a_text_that_postgresql_takes_is_stored_as_it_is(text: str) -> None:
    assert storable(text) == text


@given(VALUES)
def test_any_report_can_be_stored_as_json(value: object) -> None:
    stored = storable_json(value)
    assert "\\u0000" not in stored.replace("\\\\", "")
    assert storable_json(msgspec.json.decode(stored)) == stored
