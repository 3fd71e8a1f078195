"""A transaction's network fee, and its part for priority, are read from a node's answer."""

from __future__ import annotations

import msgspec
import pytest

from zmart.chain.network_fees import NetworkFee, parse_fee
from zmart.errors import DecodeError


def answer(fee: int, signatures: int) -> bytes:
    message = {"accountKeys": ["payer", "other"], "header": {"numRequiredSignatures": signatures}}
    return msgspec.json.encode({"meta": {"fee": fee}, "transaction": {"message": message}})


@pytest.mark.parametrize(
    ("fee", "signatures", "priority"), [(5_000, 1, 0), (13_001, 1, 8_001), (13_001, 2, 3_001), (0, 1, 0)]
)
def test_what_is_above_the_price_of_the_signatures_is_for_priority(
    fee: int, signatures: int, priority: int
) -> None:
    assert parse_fee(answer(fee, signatures)) == NetworkFee(fee, priority, "payer")


def test_an_answer_without_a_fee_or_signers_is_refused() -> None:
    for raw in (b"null", b"{}", answer(-1, 1), answer(5_000, 0)):
        with pytest.raises(DecodeError):
            parse_fee(raw)
