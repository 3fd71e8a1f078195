"""The slot that an RPC answer shows is read, and an answer from before the requested slot is not accepted."""

from __future__ import annotations

import msgspec
import pytest

from zmart.chain.rpc_accounts import RpcAccount, info_of
from zmart.chain.rpc_context import (
    InContext,
    report_context,
    report_list,
    report_statuses,
    report_transaction,
    require_slot,
)
from zmart.chain.rpc_errors import TransientRpcError
from zmart.chain.rpc_types import Blockhash, SignatureInfo, SignatureStatus
from zmart.errors import DecodeError
from zmart.market.types import Address, Slot


def read(kind: type, text: str) -> object:
    return msgspec.json.decode(text, type=kind)


def test_an_answer_is_read_with_its_slot() -> None:
    answer = read(
        InContext[Blockhash], '{"context":{"slot":7},"value":{"blockhash":"b","lastValidBlockHeight":9}}'
    )
    assert (answer.context.slot, answer.value) == (7, Blockhash("b", 9))
    assert report_context(answer).slot == 7


@pytest.mark.parametrize("since", [None, 6, 7])
def test_an_answer_from_the_requested_slot_or_later_counts(since: int | None) -> None:
    require_slot("getBalance", Slot(7), since)


def test_an_answer_from_an_earlier_slot_is_asked_for_again() -> None:
    with pytest.raises(TransientRpcError, match="from slot 7, before slot 8"):
        require_slot("getBalance", Slot(7), Slot(8))


def test_a_list_and_statuses_show_their_newest_slot() -> None:
    lines = [
        SignatureInfo("a", 5, block_time=50),
        SignatureInfo("b", 9),
        SignatureInfo("c", 7, block_time=70),
    ]
    assert (report_list(lines).slot, report_list(lines).time) == (9, 70)
    assert report_list([]).slot == 0
    kind = InContext[list[SignatureStatus | None]]
    assert (
        report_statuses(read(kind, '{"context":{"slot":7},"value":[null,{"slot":9},{"slot":3}]}')).slot == 9
    )
    assert report_statuses(read(kind, '{"context":{"slot":7},"value":[null]}')).slot == 7


def test_a_transaction_that_a_node_does_not_have_shows_nothing() -> None:
    assert report_transaction(b"null").slot == 0
    report = report_transaction(b'{"slot":4,"blockTime":40,"version":0,"meta":{}}')
    assert (report.slot, report.time) == (4, 40)


def test_an_account_keeps_its_bytes_and_one_in_another_encoding_is_refused() -> None:
    text = '{"lamports":1,"owner":"o","data":["AAE=","base64"],"executable":true}'
    info = info_of(Address("a"), read(RpcAccount, text))
    assert info is not None
    assert (info.address, info.lamports, info.owner, info.data, info.executable) == (
        "a",
        1,
        "o",
        b"\0\1",
        True,
    )
    assert info_of(Address("a"), None) is None
    with pytest.raises(DecodeError, match="base64"):
        info_of(Address("a"), read(RpcAccount, text.replace("AAE=", "not base64")))
