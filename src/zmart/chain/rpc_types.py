"""Define the values that the methods of `Rpc` return."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from zmart.chain.accounts import AccountInfo
from zmart.market.identifiers import BASE58_TEXT
from zmart.market.types import ChainTime, Signature, Slot

Commitment = Literal["processed", "confirmed", "finalized"]


class SignatureInfo(msgspec.Struct, frozen=True, rename="camel"):
    """Hold one entry of getSignaturesForAddress.

    `err` is None for a transaction that succeeded. `block_time` is in chain seconds, None if the node does not know it.
    """

    signature: Annotated[Signature, msgspec.Meta(pattern=BASE58_TEXT)]
    slot: Slot
    err: object = None
    block_time: ChainTime | None = None
    confirmation_status: str | None = None


class SignatureStatus(msgspec.Struct, frozen=True, rename="camel"):
    """Hold the status of a transaction that a node knows. `err` is None if it succeeded."""

    slot: Slot
    err: object = None
    confirmation_status: str | None = None


class Statuses(msgspec.Struct, frozen=True):
    """Hold the statuses of several transactions, in the order of the request.

    None stands for a transaction that the node does not know. `context_slot` is the slot as of which the node answered.
    """

    context_slot: Slot
    values: list[SignatureStatus | None]


class Blockhash(msgspec.Struct, frozen=True, rename="camel"):
    """Hold a blockhash and the last block height at which a transaction with it is accepted."""

    blockhash: str
    last_valid_block_height: int


class BlockHeight(msgspec.Struct, frozen=True):
    """Hold the height of a block and its slot, as one node reported them in one answer."""

    height: int
    slot: Slot


class BlockhashValidity(msgspec.Struct, frozen=True):
    """State whether a blockhash was valid as of slot `context_slot`, as one node reported it.

    A node that has not reached the blockhash's own block reports False as well: only as of a slot in which the
    blockhash must be known does False mean that it has expired.
    """

    valid: bool
    context_slot: Slot


class SimulationResult(msgspec.Struct, frozen=True):
    """Hold the result of a simulated transaction against the bank that a node had at `slot`.

    `units` are the compute units that it used, 0 if the node omits them. `err` is None if `ok`. `accounts` are the
    requested accounts after the transaction, None for one that does not exist.
    """

    slot: Slot
    ok: bool
    units: int
    err: object
    logs: tuple[str, ...]
    accounts: tuple[AccountInfo | None, ...] = ()
