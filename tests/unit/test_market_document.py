"""Which documents are valid market documents, in drafts and from IPFS: both are read by the same rules (A10)."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zmart.errors import Invalid
from zmart.ipfs.cid import cid_of, same_file
from zmart.ipfs.multiformats import DAG_PB, Cid, parse_cid
from zmart.market.text_input import accept_text
from zmart.proofs.canonical import canonical_json
from zmart.proofs.market_document import MAX_BYTES, MarketDocument, compose, read

GOOD = {
    "type": "zmart-question",
    "version": 1,
    "program": "1" * 32,
    "market_id": "ab" * 32,
    "creator": "1" * 43,
    "question": "Will the river freeze?",
    "description": "",
    "category": "weather",
    "tags": ["ice"],
    "ends_at": "2100-01-01T00:00:00.000Z",
    "b_parameter": 5,
    "initial_liquidity": 0,
}
BAD = [
    {"type": "zmart-snapshot"},
    {"version": 2},
    {"version": True},
    {"question": "too short"},
    {"question": "x" * 201},
    {"question": " " * 20},
    {"question": "Will this \0 be stored?"},
    {"question": "Will \u202ethis\u202c be read?"},
    {"question": "\u200b" * 20},
    {"description": "a\u0001b"},
    {"tags": ["\u3164"]},
    {"tags": ["\u00e9", "e\u0301"]},
    {"question": 7},
    {"description": "x" * 2001},
    {"category": ""},
    {"category": "Weather"},
    {"tags": ["a"] * 2},
    {"tags": ["a", ""]},
    {"tags": [str(number) for number in range(11)]},
    {"tags": "ice"},
    {"ends_at": "2100-01-01T00:00:00"},
    {"ends_at": "0001-01-01T00:00:00+14:00"},
    {"ends_at": "9999-12-31T23:59:59-14:00"},
    {"ends_at": 5},
    {"b_parameter": -1},
    {"b_parameter": "5"},
    {"market_id": "AB" * 32},
    {"creator": "nobody"},
    {"more": 1},
]


@pytest.mark.parametrize("change", BAD, ids=str)
def test_what_a_draft_may_not_say_is_no_market_document(change):
    with pytest.raises(Invalid):
        read(canonical_json(GOOD | change))
    assert read(canonical_json(GOOD)).question == GOOD["question"]


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"null",
        b"[]",
        b"\xff\xfe",
        b"<html></html>",
        json.dumps(GOOD).encode(),
        canonical_json(GOOD)[:-1] + b',"question":"Will another one be read?"}',
        canonical_json(GOOD).replace(b'"b_parameter":5', b'"b_parameter":5.0'),
        b"[" * 100_000,
        canonical_json({"x": "y" * MAX_BYTES}),
    ],
    ids=range(10),
)
def test_bytes_that_two_readers_could_read_differently_are_no_market_document(raw):
    with pytest.raises(Invalid):
        read(raw)


texts = st.text(st.characters(exclude_categories=["Cc", "Cf", "Cs", "Mn"]), min_size=10, max_size=200)


def accepted(text: str) -> str:
    """Return the text in the form that a draft stores; "" for a text that a draft refuses."""
    try:
        return accept_text("question", text, (10, 200), one_line=True)
    except Invalid:
        return ""


@settings(deadline=None, max_examples=60)
@given(texts.map(accepted).filter(bool), st.datetimes(timezones=st.just(UTC)))
def test_what_is_composed_reads_back(question, ends_at):
    document = MarketDocument(
        program="1" * 32, market_id="ab" * 32, creator="1" * 43, question=question, description="", category="c",
        tags=[], ends_at=ends_at, b_parameter=1, initial_liquidity=2,
    )  # fmt: skip
    result = read(compose(document))
    assert result.question == question
    assert result.ends_at == ends_at.replace(microsecond=ends_at.microsecond // 1000 * 1000)


def test_a_document_of_another_release_is_shown_in_the_accepted_form():
    """W28: a document of any author is shown in the accepted form: composed characters, the question in one line."""
    shown = read(
        canonical_json(GOOD | {"question": "Will the cafe\u0301\nbe open?", "description": "a\r\nb"})
    )
    assert (shown.question, shown.description) == ("Will the café be open?", "a\nb")


@pytest.mark.parametrize("size", [0, 5, 262_144, 262_145, 700_000])
def test_a_cid_names_its_file_however_it_is_written(size):
    """A file matches its CID as CIDv0, as CIDv1 with raw leaves and as CIDv1 of the version 0 layout."""
    data = bytes(size)
    other = data + b"x"
    rewritten = str(Cid(1, DAG_PB, parse_cid(cid_of(data, 0)).digest))
    for cid in (cid_of(data, 0), cid_of(data, 1), rewritten):
        assert same_file(cid, data)
        assert not same_file(cid, other)


def test_an_end_is_a_time_of_utc():
    assert read(canonical_json(GOOD | {"ends_at": "2100-01-01T02:00:00+02:00"})).ends_at == datetime(
        2100, 1, 1, tzinfo=UTC
    )
