"""Read the slot as of which a node answered, and other slots and times that its answer shows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Generic, TypeVar

import msgspec

from zmart.chain.endpoint_guard import ChainReport
from zmart.chain.json_rpc import decode_answer
from zmart.chain.rpc_errors import TransientRpcError
from zmart.chain.rpc_types import SignatureInfo, SignatureStatus
from zmart.market.types import ChainTime, Slot

Value = TypeVar("Value")


class SlotContext(msgspec.Struct):
    """Hold the slot of the bank that a node read for its answer."""

    slot: Slot


class InContext(msgspec.Struct, Generic[Value]):
    """Hold an answer and the slot of the bank that it was read from."""

    context: SlotContext
    value: Value


class EpochInfo(msgspec.Struct, rename="camel"):
    """Hold the fields of getEpochInfo that say which block a node has reached; all are of one bank."""

    absolute_slot: Slot
    block_height: int


class TransactionHead(msgspec.Struct, rename="camel"):
    """Hold the fields of a transaction that show its version, and when it landed."""

    slot: Slot = Slot(0)
    block_time: ChainTime | None = None
    version: object = None


def require_slot(method: str, slot: Slot, since: Slot | None) -> None:
    """Raise TransientRpcError if an answer, which reports that it is from `slot`, is from a slot before `since`.

    Not every node honours minContextSlot, but most answers report their slot.
    """
    if since is not None and slot < since:
        raise TransientRpcError(f"The RPC answered {method} from slot {slot}, before slot {since}.")


def report_slot(slot: int) -> ChainReport:
    """Report the slot that getSlot returned."""
    return ChainReport(Slot(slot))


def report_epoch(answer: EpochInfo) -> ChainReport:
    """Report the slot that getEpochInfo returned."""
    return ChainReport(answer.absolute_slot)


def report_context(answer: InContext[Value]) -> ChainReport:
    """Report the slot in the context of an answer."""
    return ChainReport(answer.context.slot)


def report_statuses(answer: InContext[list[SignatureStatus | None]]) -> ChainReport:
    """Report the newest slot in an answer of getSignatureStatuses."""
    return ChainReport(max([answer.context.slot, *(status.slot for status in answer.value if status)]))


def report_list(lines: Sequence[SignatureInfo]) -> ChainReport:
    """Report the newest slot and time in an answer of getSignaturesForAddress; slot 0 if it lists nothing."""
    times = (line.block_time for line in lines if line.block_time is not None)
    return ChainReport(max((line.slot for line in lines), default=Slot(0)), max(times, default=None))


def report_transaction(raw: bytes) -> ChainReport:
    """Report the slot and time of a transaction in an answer of getTransaction; slot 0 if there is none."""
    if raw == b"null":
        return ChainReport(Slot(0))
    head = decode_answer(TransactionHead, "getTransaction", raw)
    return ChainReport(head.slot, head.block_time)
