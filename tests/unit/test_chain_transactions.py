"""Events of the program are extracted from fetched transactions and from webhooks."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from pathlib import Path

import base58
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from solders.pubkey import Pubkey

from zmart.chain.event_extraction import extract_events, may_hide_calls
from zmart.chain.idl import load_idl
from zmart.chain.program import Program
from zmart.chain.transactions import parse_transaction
from zmart.chain.webhook_auth import authorization_matches, hmac_matches
from zmart.chain.webhooks import MAX_BODY_BYTES, MAX_ITEMS, parse_webhook
from zmart.errors import DecodeError
from zmart.market.events import EVENT_OF_INSTRUCTION, MarketCreated, MarketFinalized, SharesBought

WIRE = json.loads((Path(__file__).parents[1] / "vectors/pricing_and_wire_vectors.json").read_text())["wire"]
PROGRAM = Program(Pubkey.from_string(WIRE["program_id"]), load_idl())
OURS = PROGRAM.address
EVIL = "Fg6PaFpoGXkYsidMpWTK6W2BeZ7FEfcYkg476zPFsLnS"
SIGNATURE = base58.b58encode(bytes([7]) * 64).decode()
MARKET_ID = "01" * 32
CID = "QmYwAPJzv5CZsnA625s3Xf2nemtYgPpHdWEz79ojWKPbdG"
AUTHORITY = PROGRAM.addresses.event_authority()


def event(name):
    return base64.b64decode(WIRE["event_program_data_base64"][name])


def ran(program, *inside, depth=1):
    return [f"Program {program} invoke [{depth}]", *inside, f"Program {program} success"]


def said(name):
    return "Program data: " + WIRE["event_program_data_base64"][name]


def call_of(name):
    return base58.b58encode(bytes.fromhex(WIRE["instruction_data_hex"][name])).decode()


class Builder:
    """Build a getTransaction answer from the calls and logs that a test adds."""

    def __init__(self):
        self.keys = [base58.b58encode(bytes([50]) * 32).decode()]
        self.outer, self.inner, self.logs = [], [], []

    def index(self, key):
        if key not in self.keys:
            self.keys.append(key)
        return self.keys.index(key)

    def compiled(self, program, data="", accounts=(), height=None):
        return {
            "programIdIndex": self.index(program),
            "accounts": [self.index(a) for a in accounts],
            "data": data,
            "stackHeight": height,
        }

    def call(self, program, *logs, data="", accounts=()):
        self.outer.append(self.compiled(program, data, accounts))
        self.logs += ran(program, *logs)
        return self

    def cpi(self, outer, program, data="", accounts=(), height=2):
        self.inner.append({"index": outer, "instructions": [self.compiled(program, data, accounts, height)]})
        return self

    def json(self, **changes):
        raw = {
            "blockTime": 1_762_772_000,
            "slot": 420_641_215,
            "version": 0,
            "meta": {
                "err": None,
                "fee": 5000,
                "innerInstructions": self.inner,
                "logMessages": self.logs,
                "loadedAddresses": {"readonly": [], "writable": []},
            },
            "transaction": {
                "signatures": [SIGNATURE],
                "message": {
                    "accountKeys": self.keys,
                    "header": {},
                    "instructions": self.outer,
                    "recentBlockhash": "1" * 32,
                },
            },
        }
        meta = changes.pop("meta", {})
        return raw | changes | {"meta": raw["meta"] | meta}

    def extract(self, **changes):
        return extract_events(PROGRAM, parse_transaction(json.dumps(self.json(**changes)).encode()))


def kinds(extracted):
    return [(e.ordinal, type(e.event).__name__) for e in extracted.events]


def test_several_events_of_one_kind_keep_their_order_and_number():
    result = (
        Builder()
        .call(OURS, said("SharesBought"), said("SharesBought"))
        .call(OURS, said("SharesSold"))
        .extract(indexWithinBlock=12)
    )
    assert kinds(result) == [(0, "SharesBought"), (1, "SharesBought"), (2, "SharesSold")]
    first = result.events[0]
    assert (first.signature, first.slot, first.index_in_block) == (SIGNATURE, 420_641_215, 12)
    assert isinstance(first.event, SharesBought)
    assert (result.unknown, result.needs_account_fallback) == (0, False)


def test_another_programs_copy_of_our_event_is_ignored():
    assert Builder().call(EVIL, said("SharesBought")).extract().events == []
    mixed = Builder().call(OURS, *ran(EVIL, said("SharesBought"), depth=2), said("SharesSold")).cpi(0, EVIL)
    assert kinds(mixed.extract()) == [(0, "SharesSold")]


def test_a_failed_transaction_gives_nothing():
    failed = Builder().call(OURS, said("SharesBought"))
    result = failed.extract(meta={"err": {"InstructionError": [0, {"Custom": 6007}]}})
    assert (result.events, result.unknown, result.needs_account_fallback) == ([], 0, False)


def test_a_market_is_created_with_the_arguments_of_its_own_instruction():
    other = WIRE["instruction_data_hex"]["create_market"].replace("01" * 32, "02" * 32)
    result = (
        Builder()
        .call(OURS, data=base58.b58encode(bytes.fromhex(other)).decode())
        .call(OURS, said("MarketCreated"), data=call_of("create_market"))
        .extract()
    )
    (created,) = [e.event for e in result.events]
    assert isinstance(created, MarketCreated)
    assert (created.initial_liquidity, created.ipfs_question_hash) == (100_000_000, CID)


def test_a_market_created_through_another_program_has_its_arguments_too():
    inner = ran(OURS, said("MarketCreated"), depth=2)
    result = Builder().call(EVIL, *inner).cpi(0, OURS, data=call_of("create_market")).extract()
    assert result.events[0].event.ipfs_question_hash == CID


def test_arguments_of_another_market_are_not_taken():
    other = WIRE["instruction_data_hex"]["create_market"].replace("01" * 32, "02" * 32)
    data = base58.b58encode(bytes.fromhex(other)).decode()
    (created,) = Builder().call(OURS, said("MarketCreated"), data=data).extract().events
    assert (created.event.initial_liquidity, created.event.ipfs_question_hash) == (None, None)


def finalized(*, was_disputed):
    event = MarketFinalized(market_id=MARKET_ID, final_outcome=False, was_disputed=was_disputed, timestamp=1)
    return "Program data: " + base64.b64encode(PROGRAM.events.encode(event)).decode()


def test_a_disputed_market_is_finalized_with_the_counts_of_its_instruction():
    accounts = (PROGRAM.addresses.global_config(), PROGRAM.addresses.market(MARKET_ID))
    result = (
        Builder()
        .call(OURS, finalized(was_disputed=True), data=call_of("finalize_market_some"), accounts=accounts)
        .extract()
    )
    (final,) = [e.event for e in result.events]
    assert (final.dispute_agree, final.dispute_disagree) == (60, 40)


def test_counts_that_the_program_ignored_are_not_reported():
    accounts = (PROGRAM.addresses.global_config(), PROGRAM.addresses.market(MARKET_ID))
    result = (
        Builder()
        .call(OURS, finalized(was_disputed=False), data=call_of("finalize_market_some"), accounts=accounts)
        .extract()
    )
    assert result.events[0].event.dispute_agree is None


def test_a_cut_log_asks_for_the_accounts_and_keeps_what_came_before():
    result = Builder().call(OURS, said("SharesBought"), "Log truncated", said("SharesSold")).extract()
    assert kinds(result) == [(0, "SharesBought")]
    assert result.needs_account_fallback


def test_missing_logs_ask_for_the_accounts():
    result = Builder().call(OURS).extract(meta={"logMessages": None})
    assert (result.events, result.needs_account_fallback) == ([], True)


@pytest.mark.parametrize(
    "logs",
    [
        [],
        ran(EVIL),
        ran(OURS, said("SharesBought")),
        [f"Program {OURS} invoke [1]", said("SharesBought")],
        [said("SharesBought"), f"Program {OURS} success", *ran(OURS)],
        [*ran(OURS, said("SharesBought")), f"Program {OURS} invoke [1]"],
    ],
    ids=["empty", "of another", "one of two", "no end", "no beginning", "the second has no end"],
)
def test_a_log_that_cannot_be_whole_is_a_cut_log(logs):
    """Case I5: a log without both invocations of the program counts as truncated; accounts are read instead."""
    calls = Builder().call(OURS, data=call_of("buy_shares")).call(OURS, data=call_of("sell_shares"))
    result = calls.extract(meta={"logMessages": logs})
    assert (result.events, result.needs_account_fallback) == ([], True)
    assert len(result.lost) == 2


@pytest.mark.parametrize("data", ["", base58.b58encode(bytes(8)).decode()], ids=["none", "unknown"])
def test_a_program_that_ran_without_an_event_is_complete(data):
    """An instruction that the IDL does not know may emit nothing."""
    result = Builder().call(OURS, "Program log: nothing", data=data).extract()
    assert (result.needs_account_fallback, result.lost) == (False, ())


@pytest.mark.parametrize("name", WIRE["instruction_data_hex"])
def test_an_instruction_that_always_emits_an_event_has_lost_it_if_the_log_has_none(name):
    """I5: the log is whole but for the lines `Program data:` that the node left out."""
    logs = Builder().call(OURS, said("SharesBought"), data=call_of("buy_shares"))
    logs.call(OURS, data=call_of(name)).call(OURS, data="")
    result = logs.call(OURS, said("SharesSold"), data=call_of("sell_shares")).extract()
    assert kinds(result) == [(0, "SharesBought"), (2, "SharesSold")], "as where the log is whole"
    assert [(ordinal, item.data_base58) for ordinal, item in result.lost] == [(1, call_of(name))]
    assert result.needs_account_fallback


def test_an_event_that_emit_cpi_sent_is_not_lost():
    sent = base58.b58encode(bytes.fromhex("e445a52e51cb9a1d") + event("SharesBought")).decode()
    calls = Builder().call(OURS, *ran(OURS, depth=2), data=call_of("buy_shares"))
    assert calls.cpi(0, OURS, data=sent, accounts=[AUTHORITY]).extract().lost == ()


def test_every_instruction_of_the_program_is_known_to_emit_one_event():
    assert EVENT_OF_INSTRUCTION.keys() == PROGRAM.idl.instructions.keys()
    assert {kind.__name__ for kind in EVENT_OF_INSTRUCTION.values()} == set(WIRE["event_program_data_base64"])


SHOWN_CALLS = {"all": 2, "one of two": 1, "none": 0}


@pytest.mark.parametrize("inner", SHOWN_CALLS)
@pytest.mark.parametrize("ends", ["whole", "truncated", "broken"])
def test_calls_that_only_the_log_shows_are_hidden(inner, ends):
    """I5: the node lists no, some or all inner instructions; the lines of a log that was cut are a lower bound."""
    lines = ran(EVIL, *ran(OURS, depth=2), *ran(OURS, depth=2))
    lines = {"whole": lines, "truncated": [*lines[:-1], "Log truncated"], "broken": lines[:-1]}[ends]
    call = Builder().compiled(OURS, height=2)
    tx = Builder().call(EVIL)
    tx.index(OURS)
    tx.inner = [
        {"index": 0, "instructions": [call | {"programIdIndex": tx.index(OURS)}] * SHOWN_CALLS[inner]}
    ]
    parsed = parse_transaction(json.dumps(tx.json(meta={"logMessages": lines})).encode())
    assert may_hide_calls(PROGRAM, parsed) == (inner != "all")
    failed = {"logMessages": lines, "err": {"InstructionError": [0, {"Custom": 1}]}}
    assert not may_hide_calls(PROGRAM, parse_transaction(json.dumps(tx.json(meta=failed)).encode()))


def test_a_foreign_transaction_with_a_cut_log_asks_for_nothing():
    assert not Builder().call(EVIL, "Log truncated").extract().needs_account_fallback


def test_an_unknown_payload_is_counted_and_keeps_its_ordinal():
    unknown = "Program data: " + base64.b64encode(bytes(40)).decode()
    result = Builder().call(OURS, unknown, said("SharesBought"), "Program data: %").extract()
    assert kinds(result) == [(1, "SharesBought")]
    assert result.unknown == 2


def emitted(name):
    return base58.b58encode(bytes.fromhex("e445a52e51cb9a1d") + event(name)).decode()


def test_events_by_self_call_are_read_also_when_the_log_is_cut():
    call = Builder().call(OURS, "Log truncated").cpi(0, OURS, emitted("SharesBought"), (AUTHORITY,))
    assert kinds(call.extract()) == [(0, "SharesBought")]


@pytest.mark.parametrize(
    "forge",
    [
        lambda b: b.call(OURS, data=emitted("SharesBought"), accounts=(AUTHORITY,)),
        lambda b: b.call(EVIL).cpi(0, OURS, emitted("SharesBought"), (AUTHORITY,)),
        lambda b: b.call(OURS).cpi(0, OURS, emitted("SharesBought"), (EVIL,)),
        lambda b: b.call(OURS).cpi(0, EVIL, emitted("SharesBought"), (AUTHORITY,)),
    ],
)
def test_a_self_call_that_is_none_is_ignored(forge):
    assert forge(Builder()).extract().events == []


def test_addresses_from_lookup_tables_are_resolved():
    builder = Builder().call(OURS, said("SharesBought"))
    raw = builder.json(meta={"loadedAddresses": {"writable": [EVIL], "readonly": [AUTHORITY]}})
    raw["transaction"]["message"]["instructions"][0]["accounts"] = [len(builder.keys), len(builder.keys) + 1]
    tx = parse_transaction(json.dumps(raw).encode())
    assert tx.instructions[0].accounts == (EVIL, AUTHORITY)


def test_an_index_outside_the_keys_is_a_decode_error():
    raw = Builder().call(OURS).json()
    raw["transaction"]["message"]["instructions"][0]["accounts"] = [99]
    with pytest.raises(DecodeError):
        parse_transaction(json.dumps(raw).encode())


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.floats(allow_nan=False),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@given(st.data())
def test_a_mangled_transaction_is_a_decode_error_or_still_safe(choices):
    """A valid transaction in which one value is replaced by any JSON gives a DecodeError or at most its one event."""
    raw = Builder().call(OURS, said("MarketCreated"), data=call_of("create_market")).json()
    node = raw
    while True:
        at = choices.draw(st.sampled_from(sorted(node) if isinstance(node, dict) else range(len(node))))
        if not isinstance(node[at], dict | list) or not node[at] or choices.draw(st.booleans()):
            node[at] = choices.draw(json_values)
            break
        node = node[at]
    body = json.dumps(raw).encode()
    try:
        result = extract_events(PROGRAM, parse_transaction(body))
    except DecodeError:
        return
    assert len(result.events) <= 1


# Webhooks


def test_a_raw_array_keeps_each_element_for_later():
    raw = Builder().call(OURS, said("SharesBought")).json(indexWithinBlock=3)
    failed = raw | {"meta": {"err": {"InstructionError": [0, "GenericError"]}}}
    items = parse_webhook(json.dumps([raw, failed]).encode())
    assert [(i.signature, i.slot, i.failed) for i in items] == [
        (SIGNATURE, 420_641_215, False),
        (SIGNATURE, 420_641_215, True),
    ]
    (result,) = extract_events(PROGRAM, parse_transaction(items[0].raw)).events
    assert (result.index_in_block, type(result.event)) == (3, SharesBought)


def test_an_enhanced_element_is_only_a_signature():
    enhanced = {"signature": SIGNATURE, "slot": 5, "type": "UNKNOWN", "source": "X", "transactionError": None}
    (item,) = parse_webhook(json.dumps(enhanced).encode())
    assert (item.signature, item.slot, item.raw, item.failed) == (SIGNATURE, 5, None, False)
    (item,) = parse_webhook(json.dumps([enhanced | {"transactionError": {"error": "x"}}]).encode())
    assert item.failed


def test_an_empty_delivery_is_no_error():
    assert parse_webhook(b"[]") == []


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"7",
        b'"x"',
        b"[7]",
        b"[{}]",
        b"{",
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b"\xff\xfe",
        json.dumps({"signature": "short"}).encode(),
        json.dumps({"signature": "0" * 88}).encode(),
        json.dumps({"signature": SIGNATURE, "slot": -1}).encode(),
        json.dumps({"signature": SIGNATURE, "slot": 2**63}).encode(),
        json.dumps({"slot": 1, "meta": {}, "transaction": {"signatures": []}}).encode(),
        json.dumps({"meta": {}, "transaction": {"signatures": [SIGNATURE]}}).encode(),
    ],
)
def test_anything_else_is_a_decode_error(body):
    with pytest.raises(DecodeError):
        parse_webhook(body)


def test_a_delivery_is_bounded():
    one = json.dumps({"signature": SIGNATURE}).encode()
    with pytest.raises(DecodeError, match="elements"):
        parse_webhook(b"[" + b",".join([one] * (MAX_ITEMS + 1)) + b"]")
    with pytest.raises(DecodeError, match="bytes"):
        parse_webhook(b" " * (MAX_BODY_BYTES + 1))


@given(st.one_of(st.binary(max_size=200), json_values.map(lambda v: json.dumps(v).encode())))
def test_no_body_raises_anything_but_a_decode_error(body):
    try:
        parse_webhook(body)
    except DecodeError:
        return


def test_items_are_plain_values_that_can_be_stored():
    (item,) = parse_webhook(json.dumps(Builder().call(OURS).json()).encode())
    assert isinstance(item.raw, bytes)
    assert json.loads(item.raw)["slot"] == 420_641_215
    assert msgspec.structs.asdict(item).keys() == {"signature", "slot", "raw", "failed"}


def test_the_echoed_header_must_equal_the_secret():
    assert authorization_matches("s3cret", "s3cret")
    assert authorization_matches("Bearer s3cret", "s3cret")
    assert authorization_matches("Bearer s3cret", "Bearer s3cret")  # W6: the secret is the whole header
    assert authorization_matches("bearer s3cret", "s3cret")  # W6: the case of the scheme does not matter
    assert not authorization_matches("Bearer ", "Bearer ")
    for header in (None, "", "s3cre", "s3cret ", "Basic s3cret", "\udcff"):
        assert not authorization_matches(header, "s3cret")
    assert not authorization_matches("", "")


def test_the_hmac_is_over_the_raw_body():
    good = hmac.new(b"key", b"{}", hashlib.sha256).hexdigest()
    assert hmac_matches(good, "key", b"{}")
    assert hmac_matches("sha256=" + good.upper(), "key", b"{}")
    assert not hmac_matches(good, "key", b"{ }")
    assert not hmac_matches(good, "", b"{}")
