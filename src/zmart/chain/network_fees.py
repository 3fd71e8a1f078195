"""Read from a node's answer which fee the network charged for a transaction."""

from __future__ import annotations

from typing import Annotated

import msgspec

from zmart.chain.compute_budget import SIGNATURE_LAMPORTS
from zmart.errors import DecodeError
from zmart.market.json_input import JSON_ERRORS
from zmart.market.types import Lamports, Wallet


class NetworkFee(msgspec.Struct, frozen=True):
    """Hold the fee that the network charged for a transaction, and the wallet that paid it.

    `priority_lamports` is the part of the fee above the price of the signatures.
    """

    lamports: Lamports
    priority_lamports: Lamports
    payer: Wallet


class _FeeMeta(msgspec.Struct):
    fee: Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]


class _FeeHeader(msgspec.Struct, rename="camel"):
    num_required_signatures: Annotated[int, msgspec.Meta(ge=1, le=255)]


class _FeeMessage(msgspec.Struct, rename="camel"):
    header: _FeeHeader
    account_keys: Annotated[list[str], msgspec.Meta(min_length=1)]


class _FeeTransaction(msgspec.Struct):
    message: _FeeMessage


class _FeeAnswer(msgspec.Struct):
    meta: _FeeMeta
    transaction: _FeeTransaction


_decoder = msgspec.json.Decoder(_FeeAnswer)


def parse_fee(raw: bytes) -> NetworkFee:
    """Return the fee that a getTransaction result (encoding json) shows. Raises DecodeError for any other shape."""
    try:
        answer = _decoder.decode(raw)
    except JSON_ERRORS as error:
        raise DecodeError(f"This is not a transaction in the encoding 'json': {error}") from error
    fee, message = answer.meta.fee, answer.transaction.message
    signatures = message.header.num_required_signatures * SIGNATURE_LAMPORTS
    return NetworkFee(Lamports(fee), Lamports(max(0, fee - signatures)), Wallet(message.account_keys[0]))
