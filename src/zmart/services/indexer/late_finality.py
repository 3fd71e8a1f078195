"""Prove that a late transaction, in a slot that the index has already passed, is final.

Every transaction through the gap-free slot is final. A node that is behind, or on a fork that the others have left,
may still show transactions in these slots that are no longer on the chain.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from zmart.chain.rpc import Rpc
from zmart.chain.rpc_errors import TransientRpcError
from zmart.chain.rpc_types import SignatureStatus
from zmart.errors import ChainError, ZmartError
from zmart.market.types import Signature, Slot

_AT_ONCE = 256

Placed = tuple[Signature, Slot]


class FinalityDoubt(msgspec.Struct, frozen=True):
    """Why a transaction is not known to be final in its slot; `is_outage`: no endpoint gave a usable answer."""

    reason: str
    is_outage: bool = False


class FinalityUnknown(ZmartError):
    """Report that a batch has transactions in slots that the index has passed, without a proof that they are final.

    `requested` holds their signatures and slots, for `doubts`.
    """

    def __init__(self, requested: Sequence[Placed]) -> None:
        super().__init__(f"whether {len(requested)} transactions are final is not known")
        self.requested = requested


async def doubts(rpc: Rpc, requested: Sequence[Placed]) -> dict[Signature, FinalityDoubt | None]:
    """Return for each transaction why it is not known to be final in its slot; None if it is final there.

    When the RPC cannot be asked, its error is the reason.
    """
    reasons: dict[Signature, FinalityDoubt | None] = {}
    for page in _pages(requested):
        try:
            answer = await rpc.get_signature_statuses([name for name, _ in page], search_history=True)
        except ChainError as error:
            reason = f"Whether it is final cannot be read for now: {error}"
            doubt = FinalityDoubt(reason, is_outage=isinstance(error, TransientRpcError))
            reasons |= dict.fromkeys((name for name, _ in page), doubt)
        else:
            reasons |= {
                name: _doubt(slot, status) for (name, slot), status in zip(page, answer.values, strict=True)
            }
    return reasons


def _doubt(slot: Slot, status: SignatureStatus | None) -> FinalityDoubt | None:
    if status is not None and status.slot == slot and status.confirmation_status == "finalized":
        return None
    where = (
        "does not know it"
        if status is None
        else f"has it as {status.confirmation_status} in slot {status.slot}"
    )
    return FinalityDoubt(
        f"The index is complete and final through slot {slot}, in which a node has this transaction: it must be final "
        f"there, but the node that was asked {where}."
    )


def _pages(requested: Sequence[Placed]) -> Iterator[Sequence[Placed]]:
    for start in range(0, len(requested), _AT_ONCE):
        yield requested[start : start + _AT_ONCE]
