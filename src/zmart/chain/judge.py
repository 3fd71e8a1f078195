"""Judge whether a signed transaction was executed, may still land, or never can."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import msgspec
from solders.transaction import VersionedTransaction

from zmart.chain.nonces import DurableNonce, durable_nonce, nonce_state
from zmart.chain.rpc import Rpc
from zmart.chain.rpc_errors import TransientRpcError
from zmart.chain.rpc_types import SignatureStatus
from zmart.errors import ChainError
from zmart.market.types import Signature, Slot

OTHERS_WITHIN_S = 2.0
"""How long the status of another endpoint is waited for after one has answered that it has none."""


class PendingTransaction(msgspec.Struct, frozen=True):
    """Hold a signed transaction as it is stored before it is first sent.

    `nonce_seen_at` is a slot in which the transaction's durable nonce was current. If it is None, the transaction is
    judged as if it might also depend on a blockhash.
    """

    signature: Signature
    raw_tx: bytes
    last_valid_block_height: int
    nonce_seen_at: Slot | None = None

    @property
    def transaction(self) -> VersionedTransaction:
        """Decode `raw_tx`."""
        return VersionedTransaction.from_bytes(self.raw_tx)


class Seen(msgspec.Struct, frozen=True):
    """State that the cluster executed the transaction and confirmed it. `err` is None if the transaction succeeded."""

    slot: Slot
    err: object


class Live(msgspec.Struct, frozen=True):
    """State that the transaction may still land, or was processed but is not confirmed yet."""


class Dead(msgspec.Struct, frozen=True):
    """State that the transaction did not land and never can: every endpoint agrees, as of `slot`."""

    slot: Slot


Verdict = Seen | Live | Dead


async def judge(rpcs: Sequence[Rpc], attempt: PendingTransaction) -> Verdict:
    """Judge a pending transaction: one of `rpcs` suffices for Seen, Dead needs the agreement of all.

    Raises ChainError if an endpoint that must agree cannot be asked.
    """
    status = await _any_status(rpcs, attempt.signature)
    if status is not None:
        return _seen(status)
    slot = Slot(0)
    for rpc in rpcs:
        verdict = await _expired(rpc, attempt)
        if not isinstance(verdict, Dead):
            return verdict
        slot = max(slot, verdict.slot)
    return Dead(slot)


async def _any_status(rpcs: Sequence[Rpc], signature: Signature) -> SignatureStatus | None:
    """Ask all endpoints at once for a recent status; return the first that is there, None if all have none.

    Raises ChainError if no endpoint has one and one of them cannot be asked, or is much slower than the others.
    """
    problem: ChainError | None = None
    processed: SignatureStatus | None = None
    has_answered = False
    waiting = {asyncio.create_task(_status(rpc, signature)) for rpc in rpcs}
    try:
        while waiting:
            within_s = OTHERS_WITHIN_S if has_answered else None
            done, waiting = await asyncio.wait(waiting, timeout=within_s, return_when=asyncio.FIRST_COMPLETED)
            if not done:
                problem = TransientRpcError("Another RPC has not answered getSignatureStatuses in time.")
                break
            for answer in [task.result() for task in done]:
                if isinstance(answer, ChainError):
                    problem = answer
                    continue
                has_answered = True
                if answer is not None and answer.confirmation_status != "processed":
                    return answer
                processed = answer or processed
    finally:
        for task in waiting:
            task.cancel()
    if processed is None and problem is not None:
        raise problem
    return processed


async def _status(rpc: Rpc, signature: Signature) -> SignatureStatus | ChainError | None:
    """Return the recent status that one endpoint has, or its error: the task's result may be read by nobody."""
    try:
        return (await rpc.get_signature_statuses([signature])).values[0]
    except ChainError as error:
        return error


async def _expired(rpc: Rpc, attempt: PendingTransaction) -> Verdict:
    """Judge a pending transaction by one endpoint.

    Dead requires that the transaction's lifetime is over and that the endpoint, searching its history, has no status of
    it. An endpoint may be many nodes with different lags, so the status must come from a node that has reached the slot
    in which the lifetime was over.
    """
    over_at = await _lifetime_over(rpc, attempt)
    if over_at is None:
        return Live()
    statuses = await rpc.get_signature_statuses([attempt.signature], search_history=True)
    if (status := statuses.values[0]) is not None:
        return _seen(status)
    if statuses.context_slot < over_at:
        return Live()
    return Dead(statuses.context_slot)


async def _lifetime_over(rpc: Rpc, attempt: PendingTransaction) -> Slot | None:
    """Return a slot from which on no bank accepts the transaction, or None while a bank may.

    A blockhash expires after its last valid block height. Its validity is requested as well, because a height alone can
    be wrong after the clock of a local chain was moved. A node that has not reached the blockhash's own block calls it
    invalid, too, so only a node counts that has reached the slot of that height.
    """
    nonce, seen_at = durable_nonce(attempt.transaction), attempt.nonce_seen_at
    if nonce is not None and seen_at is not None:
        return await _nonce_over(rpc, nonce, seen_at)
    final = await rpc.get_block_height("finalized")
    if final.height <= attempt.last_valid_block_height:
        return None
    over_at = final.slot if nonce is None else await _nonce_over(rpc, nonce, final.slot)
    if over_at is None:
        return None
    blockhash = str(attempt.transaction.message.recent_blockhash)
    validity = await rpc.get_blockhash_validity(blockhash, "processed")
    if validity.valid or validity.context_slot < final.slot:
        return None
    return max(over_at, validity.context_slot)


async def _nonce_over(rpc: Rpc, nonce: DurableNonce, since: Slot) -> Slot | None:
    """Return a slot in which the durable nonce is used up, or None while it may be current.

    It is used up if it could be current in slot `since` and a finalized bank from then on holds another value: the
    values never repeat.
    """
    state = await nonce_state(rpc, nonce, "finalized")
    return None if state.is_current or state.slot < since else state.slot


def _seen(status: SignatureStatus) -> Seen | Live:
    return Live() if status.confirmation_status == "processed" else Seen(status.slot, status.err)
