"""Fetch by RPC the transactions of inbox rows that hold only a signature, and store them in these rows.

A transaction that cannot be read now is requested again after growing pauses; there is no last attempt. One that the
chain's own listing names is given up only when that listing no longer names it (departures.py). One that only a hint
names is given up once it can no longer land and no endpoint has it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial

import msgspec
import structlog

from zmart.chain import absence
from zmart.chain.rpc import Rpc
from zmart.chain.rpc_errors import TransientRpcError
from zmart.errors import ChainError
from zmart.market.json_input import JSON_ERRORS
from zmart.market.types import Address, Signature, Slot
from zmart.services.indexer import metrics
from zmart.services.indexer.departures import Departures
from zmart.services.indexer.lease import LEASE_S, renewing
from zmart.services.indexer.listing import Pace
from zmart.services.indexer.wake_signal import LONGEST_PAUSE_S, WakeSignal
from zmart.store import inbox, index_progress
from zmart.store.inbox import UNAVAILABLE_PAUSE_S, FetchFailure, FetchRequest
from zmart.store.pool import Pool
from zmart.store.retrying import Outages, retrying

_AT_ONCE = 16
_TAKEN = 64
_FIRST_PAUSE_S = 0.25
log = structlog.get_logger()


class _FetchedRow(msgspec.Struct, frozen=True):
    id: int
    raw: bytes
    slot: Slot


class _AbsentRow(msgspec.Struct, frozen=True):
    """A row that only a hint named: no endpoint has its transaction, and the transaction can no longer land."""

    id: int


class _DepartedRow(msgspec.Struct, frozen=True):
    """A signature that the chain's listing named and whose transaction a fork removed."""

    signature: Signature


_Outcome = _FetchedRow | _AbsentRow | _DepartedRow | FetchFailure


class _Placed(msgspec.Struct):
    slot: Slot


def _placed(row: FetchRequest, raw: bytes) -> _FetchedRow | FetchFailure:
    """Return the fetched row, or a failure if the node has the transaction in another slot than the chain's listing.

    In that case the listing or the node is wrong or about to change. The row is retried until both agree; meanwhile the
    gap-free slot stays below the listed slot.
    """
    slot = msgspec.json.decode(raw, type=_Placed).slot
    if row.listed and row.slot is not None and slot != row.slot:
        error = f"The chain lists this transaction in slot {row.slot}, but the node that was asked has it in {slot}."
        return FetchFailure(id=row.id, error=error)
    return _FetchedRow(row.id, raw, slot)


class Fetcher:
    """Fetch by RPC the transactions of inbox rows without a payload.

    All of `witnesses` must agree before a transaction is considered not to exist.
    """

    def __init__(
        self,
        pool: Pool,
        rpc: Rpc,
        witnesses: Sequence[Rpc],
        program: Address,
        pace: Pace,
        timeout_s: float,
    ) -> None:
        self._pace = pace
        self._pool = pool
        self._rpc = rpc
        self._witnesses = witnesses
        self._departures = Departures(pool, witnesses, program, pace)
        self._timeout_s = timeout_s
        self._gate = asyncio.Semaphore(_AT_ONCE)
        self._unavailable_s = 0.0

    async def run(self, signal: WakeSignal, outages: Outages) -> None:
        """Fetch transactions until the service stops; a wake of `signal` ends a pause early."""
        await retrying(self._turn_then_pause, signal, "Fetching transactions", outages)

    async def _turn_then_pause(self) -> float:
        if await self.turn():
            return self._unavailable_s
        due_s = await inbox.next_due_s(self._pool, has_payload=False)
        return LONGEST_PAUSE_S if due_s is None else min(due_s, LONGEST_PAUSE_S)

    async def turn(self) -> int:
        """Fetch up to 64 transactions and return how many were requested.

        A lease keeps other processes off their rows. After a crash it ends within LEASE_S seconds.
        """
        rows = await inbox.claim_fetches(self._pool, _TAKEN, LEASE_S)
        if not rows:
            return 0
        async with renewing(partial(inbox.renew_fetches, self._pool, [row.id for row in rows])):
            outcomes = await asyncio.gather(*(self._fetch(row) for row in rows))
        await inbox.fetched(
            self._pool, [(o.id, o.raw, o.slot) for o in outcomes if isinstance(o, _FetchedRow)]
        )
        await inbox.unfetched(self._pool, [o for o in outcomes if isinstance(o, FetchFailure)])
        absent = await inbox.absent(self._pool, [o.id for o in outcomes if isinstance(o, _AbsentRow)])
        metrics.ABSENT.inc(absent)
        if left := [o.signature for o in outcomes if isinstance(o, _DepartedRow)]:
            await inbox.forget(self._pool, left)
            metrics.VANISHED.inc(len(left))
        self._note_unavailable(outcomes)
        return len(rows)

    def _note_unavailable(self, outcomes: Sequence[_Outcome]) -> None:
        """Set the pause after this turn: longer each time, up to 5 s, while every request fails for lack of an RPC.

        Otherwise the RPC would be asked for every waiting row without a pause.
        """
        failed = [o for o in outcomes if isinstance(o, FetchFailure) and o.most_s == UNAVAILABLE_PAUSE_S]
        if len(failed) < len(outcomes):
            self._unavailable_s = 0.0
            return
        self._unavailable_s = min(UNAVAILABLE_PAUSE_S, self._unavailable_s * 2 or _FIRST_PAUSE_S)
        log.warning("RPC unavailable", transactions=len(failed), reason=failed[0].error)

    async def _fetch(self, row: FetchRequest) -> _Outcome:
        async with self._gate:
            await self._pace.turn()
            try:
                async with asyncio.timeout(self._timeout_s):
                    raw = await self._rpc.get_transaction_json(row.signature)
                    return await self._unknown(row) if raw is None else _placed(row, raw)
            except (TransientRpcError, TimeoutError) as error:
                return FetchFailure(
                    id=row.id, error=str(error) or "The RPC is silent.", most_s=UNAVAILABLE_PAUSE_S
                )
            except (*JSON_ERRORS, ChainError) as error:
                return FetchFailure(id=row.id, error=f"The transaction cannot be read for now: {error}")

    async def _unknown(self, row: FetchRequest) -> FetchFailure | _AbsentRow | _DepartedRow:
        """Determine the outcome for a transaction that the node does not have.

        While the chain's listing names it, its absence is a failure of the node. A transaction that only a hint names
        is given up when the listing is final through every slot in which it could have landed, 150 more slots are
        listed and final, and then no endpoint has it.
        """
        if row.listed:
            if await self._departures.left(row):
                return _DepartedRow(row.signature)
            listed = f"The chain lists this transaction in slot {row.slot}"
            return FetchFailure(id=row.id, error=f"{listed}, but the node that was asked does not have it.")
        reason = "Nobody but a hint knows this transaction (yet)."
        if row.unknown_since_slot is None:
            await self._pace.turn()
            statuses = await self._rpc.get_signature_statuses([row.signature], search_history=True)
            is_known = statuses.values[0] is not None
            return FetchFailure(
                id=row.id, error=reason, unknown_at=None if is_known else statuses.context_slot
            )
        through = absence.required_slot(row.slot, row.unknown_since_slot)
        progress = await index_progress.read(self._pool)
        if progress is not None and progress.listed_through_slot >= through + absence.LONG_FINAL_SLOTS:
            await self._pace.turn()
            absent = await absence.unknown(self._witnesses, row.signature)
            if absent is not None and absent.final >= through + absence.LONG_FINAL_SLOTS:
                log.info(
                    "a hint named a transaction that no endpoint has", signature=row.signature, slot=row.slot
                )
                return _AbsentRow(row.id)
        return FetchFailure(id=row.id, error=reason)
