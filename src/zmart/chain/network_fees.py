"""Read what the network charged for a transaction, from a node's own answer."""

from __future__ import annotations

from typing import Annotated

import msgspec

from zmart.errors import DecodeError
from zmart.market.json_input import JSON_ERRORS
from zmart.market.types import Lamports, Wallet


class NetworkFee(msgspec.Struct, frozen=True):
    """What the network charged for a transaction, and the wallet that paid it."""

    lamports: Lamports
    payer: Wallet


class _FeeMeta(msgspec.Struct):
    fee: Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]


class _FeeMessage(msgspec.Struct, rename="camel"):
    account_keys: Annotated[list[str], msgspec.Meta(min_length=1)]


class _FeeTransaction(msgspec.Struct):
    message: _FeeMessage


class _FeeAnswer(msgspec.Struct):
    meta: _FeeMeta
    transaction: _FeeTransaction


_decoder = msgspec.json.Decoder(_FeeAnswer)


def parse_fee(raw: bytes) -> NetworkFee:
    """Parse what a getTransaction result (encoding json) says of the fee. Raises DecodeError."""
    try:
        answer = _decoder.decode(raw)
    except JSON_ERRORS as error:
        raise DecodeError(f"This is not a transaction in the encoding 'json': {error}") from error
    return NetworkFee(Lamports(answer.meta.fee), Wallet(answer.transaction.message.account_keys[0]))
