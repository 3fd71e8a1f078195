"""What became of a signed transaction: it was seen, it may still land, or it never can."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from solders.transaction import VersionedTransaction

from zmart.chain.rpc import Rpc, SignatureStatus
from zmart.market.types import Signature, Slot


class Attempt(msgspec.Struct, frozen=True):
    """A signed transaction as it is stored before it is first sent."""

    signature: Signature
    raw_tx: bytes
    last_valid_block_height: int

    @property
    def transaction(self) -> VersionedTransaction:
        return VersionedTransaction.from_bytes(self.raw_tx)


class Seen(msgspec.Struct, frozen=True):
    """The cluster executed it and a majority has confirmed that. `err` is None if it succeeded."""

    slot: Slot
    err: object


class Live(msgspec.Struct, frozen=True):
    """It may still land."""


class Dead(msgspec.Struct, frozen=True):
    """It did not land and never can: every endpoint asked agrees, as of `slot`."""

    slot: Slot


Verdict = Seen | Live | Dead


async def judge(rpcs: Sequence[Rpc], attempt: Attempt) -> Verdict:
    """Raises ChainError when an endpoint that must agree cannot be asked."""
    status = (await rpcs[0].get_signature_statuses([attempt.signature])).values[0]
    if status is not None:
        return _seen(status)
    slot = Slot(0)
    for rpc in rpcs:
        verdict = await _expired(rpc, attempt)
        if not isinstance(verdict, Dead):
            return verdict
        slot = max(slot, verdict.slot)
    return Dead(slot)


async def _expired(rpc: Rpc, attempt: Attempt) -> Verdict:
    """Dead needs all of it from one endpoint: a finalized height past the last valid one, a blockhash that is
    no longer accepted, and a status, looked up in history, which is absent.

    An endpoint may be many nodes of different age, so the status must come from one that knows at least the
    slot at which the blockhash was refused. The blockhash is asked for besides the height because a height
    alone can be wrong after a local chain's clock was moved.
    """
    if await rpc.get_block_height("finalized") <= attempt.last_valid_block_height:
        return Live()
    blockhash = str(attempt.transaction.message.recent_blockhash)
    validity = await rpc.get_blockhash_validity(blockhash)
    if validity.valid:
        return Live()
    statuses = await rpc.get_signature_statuses([attempt.signature], search_history=True)
    if (status := statuses.values[0]) is not None:
        return _seen(status)
    if statuses.context_slot < validity.context_slot:
        return Live()
    return Dead(statuses.context_slot)


def _seen(status: SignatureStatus) -> Seen | Live:
    return Live() if status.confirmation_status == "processed" else Seen(status.slot, status.err)
