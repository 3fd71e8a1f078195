"""Canonical JSON: equal values always have the same bytes."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zmart.errors import Invalid
from zmart.proofs.canonical import canonical_json, parse_canonical

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
keys = st.text(st.characters(max_codepoint=127), max_size=8)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=20,
)


@given(values)
def test_bytes_are_what_the_documented_rule_gives(value):
    expected = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode()
    assert canonical_json(value) == expected


@given(values)
def test_a_value_comes_back_from_its_bytes(value):
    assert parse_canonical(canonical_json(value)) == value


@given(st.dictionaries(keys, st.integers(), min_size=2, max_size=8))
def test_the_order_in_which_keys_were_written_does_not_matter(value):
    turned = dict(reversed(list(value.items())))
    assert canonical_json(turned) == canonical_json(value)


def test_known_bytes():
    value = {"b": [1, True, None], "a": 'x"\\\u0001\n\u00e9\U0001f600/', "c": 2**64}
    assert canonical_json(value) == (
        b'{"a":"x\\"\\\\\\u0001\\n\xc3\xa9\xf0\x9f\x98\x80/","b":[1,true,null],"c":18446744073709551616}'
    )


@pytest.mark.parametrize(
    "value", [1.0, [0.5], {"a": float("nan")}, {"é": 1}, {1: 2}, b"bytes", "\ud800", {"a": {1, 2}}]
)
def test_what_has_no_canonical_form_is_refused(value):
    with pytest.raises(Invalid):
        canonical_json(value)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b'{"a": 1}',
        b'{"b":1,"a":2}',
        b'{"a":1,"a":1}',
        b"1.0",
        b"1e3",
        b"NaN",
        b'"\\u00e9"',
        b"\xff",
        b" 1",
    ],
)
def test_bytes_that_are_not_canonical_are_refused(data):
    with pytest.raises(Invalid):
        parse_canonical(data)


def test_nesting_without_end_is_refused():
    with pytest.raises(Invalid):
        parse_canonical(b"[" * 100_000 + b"]" * 100_000)
