"""Define what the calls of an RPC return."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from zmart.chain.accounts import AccountInfo
from zmart.market.identifiers import BASE58_TEXT
from zmart.market.types import ChainTime, Signature, Slot

Commitment = Literal["processed", "confirmed", "finalized"]


class SignatureInfo(msgspec.Struct, frozen=True, rename="camel"):
    """Hold one entry of getSignaturesForAddress. `err` is None for a transaction that succeeded."""

    signature: Annotated[Signature, msgspec.Meta(pattern=BASE58_TEXT)]
    slot: Slot
    err: object = None
    block_time: ChainTime | None = None
    confirmation_status: str | None = None


class SignatureStatus(msgspec.Struct, frozen=True, rename="camel"):
    """Hold the status of a transaction. `err` is None if it succeeded."""

    slot: Slot
    err: object = None
    confirmation_status: str | None = None


class Statuses(msgspec.Struct, frozen=True):
    """Hold statuses in the order of the request, as a node reported them at `context_slot`."""

    context_slot: Slot
    values: list[SignatureStatus | None]


class Blockhash(msgspec.Struct, frozen=True, rename="camel"):
    """Hold a blockhash and the last block height at which it is valid."""

    blockhash: str
    last_valid_block_height: int


class BlockhashValidity(msgspec.Struct, frozen=True):
    """State whether a blockhash was valid, as a node reported it at `context_slot`."""

    valid: bool
    context_slot: Slot


class SimulationResult(msgspec.Struct, frozen=True):
    """Hold the result of a simulation against the bank that a node had at `slot`."""

    slot: Slot
    ok: bool
    units: int
    err: object
    logs: tuple[str, ...]
    accounts: tuple[AccountInfo | None, ...] = ()
