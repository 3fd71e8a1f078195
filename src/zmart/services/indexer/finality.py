"""Follow transactions from confirmed to finalized, and remove those that leave the chain before they are final.

The gap-free slot never passes a transaction that is not final, because it may still leave the chain.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from contextlib import suppress

import msgspec
import structlog

from zmart.chain import absence
from zmart.chain.event_extraction import HIDDEN_CALLS, extract_events, may_hide_calls
from zmart.chain.json_rpc import decode_answer
from zmart.chain.rpc import Rpc
from zmart.chain.transactions import parse_transaction
from zmart.errors import ChainError
from zmart.market.types import Signature, Slot
from zmart.services.indexer import metrics
from zmart.services.indexer.projector import Projector
from zmart.services.indexer.wake_signal import WakeSignal
from zmart.store import chain_events, chain_finality, inbox, index_progress
from zmart.store.chain_finality import UnfinalTransaction
from zmart.store.inbox import Hint
from zmart.store.pool import Pool
from zmart.store.retrying import Outages, retrying

_AT_ONCE = 256
_REREAD_AT_ONCE = 16
_SETTLING_SLOTS = 32
"""How many slots a node may lag behind the node that confirmed a transaction: about as many as finality takes."""
_FAR_SLOTS, _LONG_S = 150, 60.0
"""The distance in slots and the age in seconds from which a transaction ahead of node and index counts as invented.

Such a transaction was never on the chain: a sender who knows the webhook's secret made it up.
"""
_OVERDUE_S, _OVERDUE_SLOTS = 120.0, 300
OVERDUE_NAMED = 6
log = structlog.get_logger()


class _Meta(msgspec.Struct):
    err: object = None


class _TransactionStatus(msgspec.Struct):
    slot: int
    meta: _Meta


class FinalityWatcher:
    """Request the status of every transaction that is not final, until it is final or has left the chain.

    `overdue` holds the first OVERDUE_NAMED transactions that the last check found not final, although they were indexed
    two minutes ago and 300 slots after theirs are final: the gap-free slot stops before them.
    """

    def __init__(
        self, pool: Pool, rpc: Rpc, projector: Projector, interval_s: float, witnesses: Sequence[Rpc] = ()
    ) -> None:
        self._pool = pool
        self._rpc = rpc
        self._witnesses = witnesses or (rpc,)
        self._projector = projector
        self._interval_s = interval_s
        self._suspects: set[Signature] = set()
        self._gate = asyncio.Semaphore(_REREAD_AT_ONCE)
        self._known = Slot(0)
        self.overdue: tuple[UnfinalTransaction, ...] = ()

    async def run(self, signal: WakeSignal, outages: Outages) -> None:
        """Check the finality of transactions until the service stops; a wake of `signal` ends a pause early."""
        await retrying(self._check_then_pause, signal, "Finality", outages)

    async def _check_then_pause(self) -> float:
        try:
            await self.check()
        except ChainError as error:
            log.warning("finality unknown", error=str(error))
        return self._interval_s

    async def check(self) -> int:
        """Request the status of every transaction that is not final once, and return how many became final.

        Raises ChainError when the RPC cannot be asked.
        """
        finalized = await self._rpc.get_slot("finalized")
        clock = await self._rpc.get_clock("finalized")
        await index_progress.finalized(self._pool, finalized, clock.slot, clock.unix_timestamp)
        progress = await index_progress.read(self._pool)
        assert progress is not None  # claimed when the service started
        self._known = max(progress.final_slot, progress.listed_through_slot)
        final, missing, overdue = 0, list[UnfinalTransaction](), list[UnfinalTransaction]()
        after: UnfinalTransaction | None = None
        while page := await chain_finality.unfinal(self._pool, after, _AT_ONCE):
            finals, unknown = await self._ask(page, finalized)
            unchanged = await self._unchanged(finals)
            final += await chain_finality.finalize(self._pool, unchanged)
            missing, after = missing + unknown, page[-1]
            overdue += _overdue(page, set(unchanged), finalized)
        judged = await self._judge(missing)
        await index_progress.advance(self._pool)
        self.overdue = tuple(c for c in overdue if c.signature not in judged)[:OVERDUE_NAMED]
        return final + len(judged)

    async def _ask(
        self, candidates: Sequence[UnfinalTransaction], finalized: Slot
    ) -> tuple[list[UnfinalTransaction], list[UnfinalTransaction]]:
        """Return the candidates that are final, and those that the node should have in their slot but does not."""
        names = [c.signature for c in candidates]
        statuses = await self._rpc.get_signature_statuses(names, search_history=True)
        final, missing = list[UnfinalTransaction](), list[UnfinalTransaction]()
        for candidate, status in zip(candidates, statuses.values, strict=True):
            if status is not None and _same(candidate, status.slot, status.err):
                if status.confirmation_status == "finalized":
                    final.append(candidate)
            elif status is not None and candidate.unconfirmed:
                pass  # the chain differs from the webhook's delivery: Confirmer corrects that
            elif _should_be_known(candidate, finalized, statuses.context_slot, self._known):
                missing.append(candidate)
        return final, missing

    async def _unchanged(self, final: Sequence[UnfinalTransaction]) -> list[Signature]:
        """Return the signatures of those transactions in `final` that may be marked as final.

        A transaction that succeeded without an event is read once more: a fork may have put it into the same slot with
        another effect. For all others the slot and error in their status are sufficient.
        """
        changed = await asyncio.gather(*(self._has_changed(candidate) for candidate in final))
        return [candidate.signature for candidate, has in zip(final, changed, strict=True) if has is False]

    async def _has_changed(self, candidate: UnfinalTransaction) -> bool | None:
        """Return whether a transaction without events has events now; None if it cannot be read now.

        If it has, it was removed from the index and stored in the inbox again.
        """
        if not candidate.is_empty or candidate.unconfirmed:
            return False
        try:
            async with self._gate:
                raw = await self._rpc.get_transaction_json(candidate.signature, "finalized")
            if raw is None:
                return None
            transaction = parse_transaction(raw)
        except ChainError as error:
            log.warning("finality unknown", signature=candidate.signature, error=str(error))
            return None
        if may_hide_calls(self._projector.program, transaction):
            log.warning("finality unknown", signature=candidate.signature, error=HIDDEN_CALLS)
            return None
        extracted = extract_events(self._projector.program, transaction)
        if not extracted.events and not extracted.lost:
            return False
        await self._take_back(candidate.signature, Hint(candidate.signature, transaction.slot, raw))
        return True

    async def _judge(self, missing: Sequence[UnfinalTransaction]) -> set[Signature]:
        """Check again the transactions that were missing in two successive checks: a node may be wrong once.

        Those that no endpoint has are removed. Those that getTransaction returns as final are marked so, and returned.
        """
        suspects, self._suspects = self._suspects, {c.signature for c in missing}
        final = set[Signature]()
        for candidate in missing:
            if candidate.signature in suspects:
                try:
                    if await self._recheck(candidate):
                        final.add(candidate.signature)
                except ChainError as error:
                    log.warning("missing transactions cannot be judged now", reason=str(error))
        return final

    async def _recheck(self, candidate: UnfinalTransaction) -> bool:
        """Check a transaction by getTransaction, and return whether it was marked as final."""
        raw = await self._rpc.get_transaction_json(candidate.signature)
        if raw is None:
            nobody = await absence.unknown(self._witnesses, candidate.signature)
            if nobody is not None and _should_be_known(candidate, nobody.final, nobody.reached, self._known):
                await self._take_back(candidate.signature)
            return False
        status = decode_answer(_TransactionStatus, "getTransaction", raw)
        if not _same(candidate, status.slot, status.meta.err):  # in another slot, or with another result
            await self._take_back(candidate.signature, Hint(candidate.signature, Slot(status.slot), raw))
        elif await self._is_final_without_status(candidate):
            return await chain_finality.finalize(self._pool, await self._unchanged([candidate])) > 0
        return False

    async def _is_final_without_status(self, candidate: UnfinalTransaction) -> bool:
        """Return whether an endpoint that knows the slot as final returns the transaction at commitment finalized, as
        the index has it.

        That outweighs a status that is null, which a node may have lost, or another one, which may be of a fork. Some
        nodes ignore the commitment: so the slot must be final for the same endpoint.
        """
        for witness in self._witnesses:
            with suppress(ChainError):  # one that is unavailable proves nothing
                if candidate.slot > await witness.get_slot("finalized"):
                    continue
                raw = await witness.get_transaction_json(candidate.signature, "finalized")
                if raw is None:
                    continue
                status = decode_answer(_TransactionStatus, "getTransaction", raw)
                if _same(candidate, status.slot, status.meta.err):
                    return True
        return False

    async def _take_back(self, signature: Signature, instead: Hint | None = None) -> None:
        """Remove a transaction and fold its markets again without it; the change feed reports the correction.

        `instead` is stored in the inbox: the same transaction as the chain has it now. It counts as listed by the chain
        if it names the program.
        """
        async with self._pool.transaction() as connection:
            await index_progress.lock_writer(connection)
            affected = await chain_events.remove(connection, [signature])
            await inbox.forget(connection, [signature])
            if instead is not None:
                is_named = self._projector.program.is_named_in(instead.payload or b"")
                await inbox.store(connection, "scan" if is_named else "logs", [instead])
            await self._projector.refold_affected(connection, affected)
        metrics.VANISHED.inc()
        log.warning("transaction left the chain", signature=signature, markets=len(affected.markets))


def _should_be_known(candidate: UnfinalTransaction, finalized: Slot, reached: Slot, known: Slot) -> bool:
    """Return whether a node that has reached slot `reached` must have the transaction if it exists.

    `finalized` is that node's final slot. `known` is the newest slot that the index knows to be final or completely
    listed. A transaction far ahead of both `reached` and `known` counts as invented: the result is true for it, too.
    """
    must_be_known = candidate.slot <= max(finalized, reached - _SETTLING_SLOTS)
    is_made_up = candidate.slot > max(reached, known) + _FAR_SLOTS and candidate.age_s > _LONG_S
    return must_be_known or is_made_up


def _overdue(
    page: Sequence[UnfinalTransaction], final: Collection[Signature], finalized: Slot
) -> list[UnfinalTransaction]:
    """Return the transactions of `page` that an RPC should have shown as final by now; the first OVERDUE_NAMED.

    Deliveries that wait for our own RPC have an alert of their own.
    """
    late = [
        c for c in page if c.slot <= finalized - _OVERDUE_SLOTS and c.age_s > _OVERDUE_S and not c.unconfirmed
    ]
    return [c for c in late if c.signature not in final][:OVERDUE_NAMED]


def _same(candidate: UnfinalTransaction, slot: int, err: object) -> bool:
    return slot == candidate.slot and (err is not None) == candidate.failed
