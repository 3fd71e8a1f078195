"""Webhook deliveries: a bad element does not affect others (W4), and signatures are judged by their bytes (W5)."""

from __future__ import annotations

import json
import time
from contextlib import suppress

import base58
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zmart.chain import webhooks
from zmart.chain.signatures import is_signature
from zmart.chain.webhooks import MAX_REASONS, read_delivery
from zmart.errors import DecodeError

GOOD, OTHER = (base58.b58encode(bytes([n]) * 64).decode() for n in (7, 8))
RAW = {"slot": 5, "meta": {"err": None}, "transaction": {"signatures": [GOOD], "message": {}}}
NAMED = {"signature": OTHER}
DEEP = "[" * 5_000 + "]" * 5_000

NO_SIGNATURES = [
    "z" * 88,
    "1" * 88,
    "1" * 63,
    "1" * 65,
    base58.b58encode(bytes([7]) * 63).decode(),
    base58.b58encode(bytes([255]) * 65).decode(),
    "0" * 88,
    GOOD + " ",
    " " + GOOD,
    GOOD + "\n",
    GOOD[:-1] + "l",
    GOOD[:-1] + "é",
    GOOD + "1",
    "",
    "z" * 1_000_000,
    None,
    5,
    [GOOD],
    {"a": GOOD},
    True,
]

REFUSED = {
    "{}": "{}",
    "null": "null",
    "text": '"x"',
    "number": "7",
    "true": "true",
    "list": "[]",
    "list of a good one": json.dumps([NAMED]),
    "deep": DEEP,
    "deep inside": f'{{"signature":"{GOOD}","x":{DEEP}}}',
    "not JSON": "NaN",
    "not quite JSON": f'{{"signature":"{GOOD}",}}',
    "nothing": "",
    "broken text": '{"signature":"\\ud8"}',
    "signature null": json.dumps({"signature": None}),
    "slot as text": json.dumps({**NAMED, "slot": "5"}),
    "slot below": json.dumps({**NAMED, "slot": -1}),
    "slot above": json.dumps({**NAMED, "slot": 2**63}),
    "slot far above": json.dumps({**NAMED, "slot": 10**30}),
    "slot as a fraction": json.dumps({**NAMED, "slot": 5.5}),
    "slot true": json.dumps({**NAMED, "slot": True}),
    "raw, slot null": json.dumps({**RAW, "slot": None}),
    "raw, slot missing": json.dumps({name: value for name, value in RAW.items() if name != "slot"}),
    "raw, slot as text": json.dumps({**RAW, "slot": "5"}),
    "raw, no signatures": json.dumps({**RAW, "transaction": {"signatures": []}}),
    "raw, signatures null": json.dumps({**RAW, "transaction": {"signatures": None}}),
    "raw, signatures as text": json.dumps({**RAW, "transaction": {"signatures": GOOD}}),
    "raw, transaction encoded": json.dumps({**RAW, "transaction": ["AAAA", "base64"]}),
    "raw, transaction null": json.dumps({**RAW, "transaction": None}),
    **{f"signature {text!r:.30}": json.dumps({"signature": text}) for text in NO_SIGNATURES},
    **{
        f"raw, signature {text!r:.30}": json.dumps({**RAW, "transaction": {"signatures": [text]}})
        for text in NO_SIGNATURES
    },
}
"""JSON texts of elements that name no transaction, or name one in an invalid form."""

ACCEPTED = {
    "raw": (RAW, (GOOD, 5, True, False)),
    "raw and failed": ({**RAW, "meta": {"err": {"x": 1}}}, (GOOD, 5, True, True)),
    "raw, meta null: fetched": ({**RAW, "meta": None}, (GOOD, 5, False, False)),
    "raw, meta missing: fetched": (
        {"slot": 5, "transaction": {"signatures": [GOOD]}},
        (GOOD, 5, False, False),
    ),
    "raw, meta as text: fetched": ({**RAW, "meta": "x"}, (GOOD, 5, False, False)),
    "raw, no signature of its own, one beside it": (
        {**RAW, "transaction": ["AAAA", "base64"], "signature": OTHER},
        (OTHER, 5, False, False),
    ),
    "named": (NAMED, (OTHER, None, False, False)),
    "named, slot null": ({**NAMED, "slot": None}, (OTHER, None, False, False)),
    "named, first slot": ({**NAMED, "slot": 0}, (OTHER, 0, False, False)),
    "named, last slot": ({**NAMED, "slot": 2**63 - 1}, (OTHER, 2**63 - 1, False, False)),
    "enhanced and failed": ({**NAMED, "transactionError": {"error": "x"}}, (OTHER, None, False, True)),
    "64 ones": ({"signature": "1" * 64}, ("1" * 64, None, False, False)),
}


def told(item):
    return item.signature, item.slot, item.raw is not None, item.failed


@pytest.mark.parametrize("bad", REFUSED.values(), ids=REFUSED)
def test_a_bad_element_costs_none_of_its_neighbours(bad):
    """W4, W5: a bad element of a delivery is refused with a reason; the elements around it are accepted."""
    raw, named = json.dumps(RAW), json.dumps(NAMED)
    delivery = read_delivery(f"[{raw},{bad},{named}]".encode())
    assert [told(item) for item in delivery.items] == [(GOOD, 5, True, False), (OTHER, None, False, False)]
    assert delivery.items[0].raw == raw.encode()
    assert (delivery.refused, len(delivery.reasons)) == (1, 1)
    assert len(delivery.reasons[0]) < 400


@pytest.mark.parametrize(("element", "expected"), ACCEPTED.values(), ids=ACCEPTED)
def test_what_names_a_transaction_is_a_hint(element, expected):
    """W4: every element that names a transaction by a valid signature is accepted, as a hint to fetch it."""
    [item] = read_delivery(json.dumps([element]).encode()).items
    assert told(item) == expected


def test_reasons_are_told_for_the_first_of_many():
    delivery = read_delivery(json.dumps([{}] * 900 + [NAMED]).encode())
    assert (len(delivery.items), delivery.refused, len(delivery.reasons)) == (1, 900, MAX_REASONS)


ELEMENTS = {"raw": json.dumps(RAW), "named": json.dumps(NAMED), **REFUSED}


@given(st.lists(st.sampled_from(list(ELEMENTS)), min_size=1, max_size=8))
def test_any_mixture_keeps_all_that_is_good(kinds):
    elements = [ELEMENTS[kind] for kind in kinds]
    body = f" [ {' , '.join(elements)} ] ".encode()
    if not any(element.strip() for element in elements) and len(elements) == 1:
        return
    delivery = read_delivery(body)
    good = [element.encode() for element in elements if element in (json.dumps(RAW), json.dumps(NAMED))]
    assert len(delivery.items) == len(good)
    assert delivery.refused == len(elements) - len(good)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
)


@settings(max_examples=50)
@given(st.lists(json_values, max_size=6), st.sampled_from([None, 2]))
def test_splitting_by_brackets_is_what_the_decoder_does(values, indent):
    body = json.dumps(values, indent=indent, ensure_ascii=False).encode()
    result = webhooks._split_by_brackets(body)
    assert [json.loads(element) for element in result] == values


@pytest.mark.parametrize(
    "body",
    [
        b"[" + b"0," * 2_600_000 + b"0]",
        b"[" * 5_000_000,
        b"[" * 2_500_000 + b"]" * 2_500_000,
        b'["' + b"a" * 5_000_000,
        b'["' + b"\\a" * 2_500_000,
        b"[" + b'"a",' * 1_250_000 + b"0]",
        b'[{"signature":"' + b"z" * 5_000_000 + b'"}]',
        b'[{"signature":"' + b"1" * 5_000_000 + b'"}]',
        b"[" + b" " * 5_000_000 + b"x",
    ],
    ids=range(9),
)
def test_work_is_bounded_before_it_is_done(body):
    started = time.process_time()
    with suppress(DecodeError):
        assert read_delivery(body).items == []
    assert time.process_time() - started < 2


@pytest.mark.parametrize("text", NO_SIGNATURES, ids=lambda text: repr(text)[:30])
def test_a_signature_is_64_bytes_by_value(text):
    """W5: a signature is base58 of exactly 64 bytes; a text of the right length is not enough."""
    assert not is_signature(text)


@given(st.binary(min_size=64, max_size=64))
def test_every_64_bytes_are_a_signature(raw):
    assert is_signature(base58.b58encode(raw).decode())
