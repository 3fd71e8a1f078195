"""What became of a signed transaction: it was seen, it may still land, or it never can."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from solders.transaction import VersionedTransaction

from zmart.chain.nonces import durable_nonce, nonce_state
from zmart.chain.rpc import Rpc, SignatureStatus
from zmart.market.types import Signature, Slot


class Attempt(msgspec.Struct, frozen=True):
    """A signed transaction as it is stored before it is first sent. `nonce_seen_at`: a slot in which the durable
    nonce that it uses stood; without one it is judged as if it might live by a blockhash."""

    signature: Signature
    raw_tx: bytes
    last_valid_block_height: int
    nonce_seen_at: Slot | None = None

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
    """Dead needs all of it from one endpoint: a lifetime that is over, and a status, looked up in history, which is
    absent. An endpoint may be many nodes of different age, so the status must come from one that knows at least the
    slot in which the lifetime was over."""
    over_at = await _lifetime_over(rpc, attempt)
    if over_at is None:
        return Live()
    statuses = await rpc.get_signature_statuses([attempt.signature], search_history=True)
    if (status := statuses.values[0]) is not None:
        return _seen(status)
    if statuses.context_slot < over_at:
        return Live()
    return Dead(statuses.context_slot)


async def _lifetime_over(rpc: Rpc, attempt: Attempt) -> Slot | None:
    """A slot from which on no bank takes the transaction; None while one may.

    A durable nonce is over once it stood and a finalized bank holds another: the values never come again. A blockhash
    is over past its last valid height. It is asked for besides the height because a height alone can be wrong after a
    local chain's clock was moved.
    """
    transaction, seen_at = attempt.transaction, attempt.nonce_seen_at
    over_at = Slot(0)
    if (nonce := durable_nonce(transaction)) is not None:
        state = await nonce_state(rpc, nonce, "finalized")
        if state.stands or state.slot < (seen_at or 0):
            return None
        if seen_at is not None:
            return state.slot
        over_at = state.slot
    if await rpc.get_block_height("finalized") <= attempt.last_valid_block_height:
        return None
    validity = await rpc.get_blockhash_validity(str(transaction.message.recent_blockhash))
    return None if validity.valid else max(over_at, validity.context_slot)


def _seen(status: SignatureStatus) -> Seen | Live:
    return Live() if status.confirmation_status == "processed" else Seen(status.slot, status.err)
