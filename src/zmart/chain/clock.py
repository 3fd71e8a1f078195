"""Read the Clock sysvar: the slot and the time that on-chain programs see."""

from __future__ import annotations

import base64
import struct

import msgspec

from zmart.chain.rpc_answer import BadAnswer
from zmart.market.json_input import JSON_ERRORS
from zmart.market.types import Address, ChainTime, Slot

CLOCK = Address("SysvarC1ock11111111111111111111111111111111")
"""The address of the Clock sysvar."""
_LAYOUT = struct.Struct("<Q24xq")


class ChainClock(msgspec.Struct, frozen=True):
    """Hold a slot and its time in unix seconds, read from the Clock sysvar."""

    slot: Slot
    unix_timestamp: ChainTime


class RecentClock(ChainClock, frozen=True):
    """Mark a Clock whose reader needs a recent one: the endpoint guard refuses it if it lags too far."""


class _ClockAccount(msgspec.Struct):
    data: tuple[str, str]


class _ClockAnswer(msgspec.Struct):
    value: _ClockAccount | None


_answer = msgspec.json.Decoder(_ClockAnswer)


def clock_params(commitment: str) -> list[object]:
    """Return the parameters of the getAccountInfo call that reads the Clock sysvar."""
    return [CLOCK, {"encoding": "base64", "commitment": commitment}]


def read_clock(raw: bytes) -> ChainClock:
    """Decode getAccountInfo's raw result for the Clock sysvar.

    The slot is at byte 0 of the account's data, unix_timestamp at byte 32. Raises BadAnswer if the account is missing
    or malformed.
    """
    try:
        account = _answer.decode(raw).value
        data = b"" if account is None else base64.b64decode(account.data[0], validate=True)
    except (*JSON_ERRORS, ValueError) as error:
        raise BadAnswer(f"it has an invalid Clock sysvar: {error}") from error
    if len(data) < _LAYOUT.size:
        raise BadAnswer("it has no Clock sysvar, so it is not a Solana node")
    slot, unix_timestamp = _LAYOUT.unpack_from(data)
    return ChainClock(Slot(slot), ChainTime(unix_timestamp))
