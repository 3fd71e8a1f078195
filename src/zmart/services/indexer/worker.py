"""Turn inbox rows into events and projections, a batch at a time, each batch in one database transaction.

While the database works on one batch, `Prefetcher` decodes the next without any lock; its result is checked under the
writer's lock.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from enum import Enum, auto

import structlog

from zmart import traces
from zmart.chain.program import Program
from zmart.chain.rpc import Rpc
from zmart.errors import Busy, StoreError
from zmart.market.events import kind_of
from zmart.market.types import MarketId, Signature
from zmart.services.indexer import batch as batches
from zmart.services.indexer import late_finality, metrics
from zmart.services.indexer.batch import Batch, OrderUnknown, Transaction
from zmart.services.indexer.blocks import Blocks, Unplaced
from zmart.services.indexer.late_finality import FinalityDoubt, FinalityUnknown
from zmart.services.indexer.prefetcher import MOST_BYTES, Prefetcher
from zmart.services.indexer.projector import Mapped, Projector
from zmart.services.indexer.wake_signal import LONGEST_PAUSE_S, WakeSignal
from zmart.store import chain_events, deliveries, inbox, index_progress
from zmart.store.chain_events import Neighbour
from zmart.store.inbox import InboxFailure, ReadyTransaction
from zmart.store.pool import Connection, Pool
from zmart.store.retrying import Outages, retrying

_TAKEOVER_S = 0.25
_SILENT_WRITER_S = 8.0
"""After how many seconds without a statement the writer of another process counts as stopped.

It equals idle_in_transaction_session_timeout, which does not end a session that is within a statement.
"""
_EXAMINE_WRITER_EVERY_S = 1.0
_NAMED_SIGNATURES, _NAMED_MARKETS = 5, 20
"""How many signatures and markets of a batch its log line names."""
log = structlog.get_logger()


class BatchOutcome(Enum):
    """The outcome of one turn of the worker.

    WORKED: a batch was written, or failed and is halved. IDLE: no row is ready. ELSEWHERE: another process is the
    writer.
    """

    WORKED = auto()
    IDLE = auto()
    ELSEWHERE = auto()


class Worker:
    """Write the transactions of the inbox to the database, batch by batch, while there are any.

    `recovered` holds the markets for which events that a truncated log had lost were recovered; an audit is due while
    it is not empty. `events_total` counts the events that this worker has indexed.
    """

    def __init__(
        self,
        pool: Pool,
        rpc: Rpc,
        program: Program,
        projector: Projector,
        batch_size: int,
        *,
        trusting: bool = False,
    ) -> None:
        self._pool = pool
        self._rpc = rpc
        self._projector = projector
        self._largest = self._limit = batch_size
        self.blocks = Blocks(rpc, batch_size)
        self._prefetcher = Prefetcher(pool, rpc, program, self.blocks, trusting=trusting)
        self._ahead: asyncio.Task[Batch] | None = None
        self._examine_writer_at = 0.0
        self.events_total = 0
        self.recovered: set[MarketId] = set()

    async def run(self, signal: WakeSignal, outages: Outages) -> None:
        """Index batches until the service stops; `signal` is woken when rows come into the inbox."""
        try:
            await retrying(self._turn_then_pause, signal, "Indexing", outages)
        finally:
            await self._forget_ahead()

    async def _turn_then_pause(self) -> float:
        """Take one turn and return the pause after it in seconds."""
        outcome = await self.turn()
        if outcome is BatchOutcome.WORKED:
            return 0.0
        return _TAKEOVER_S if outcome is BatchOutcome.ELSEWHERE else await self._idle_s()

    async def _idle_s(self) -> float:
        due_s = await inbox.next_due_s(self._pool, has_payload=True)
        return LONGEST_PAUSE_S if due_s is None else min(due_s, LONGEST_PAUSE_S)

    async def turn(self) -> BatchOutcome:
        """Settle one batch and return the outcome. After a failure the next batches are halved, down to one row.

        Raises StoreError when the database cannot write the batch now.
        """
        limit, ahead, self._ahead = self._limit, self._ahead, None
        batch = await ahead if ahead else await self._prefetcher.batch(limit)
        if not batch.rows:
            return BatchOutcome.IDLE
        try:
            outcome = await self._with_proofs(batch)
        except Busy:
            await self._forget_ahead()
            self._limit = max(1, len(batch.rows) // 2)  # a smaller batch may stay within the limits
            raise
        except StoreError:
            await self._forget_ahead()
            raise
        except Exception as error:
            await self._forget_ahead()
            await self._halve(batch, f"{type(error).__name__}: {error}")
            return BatchOutcome.WORKED
        if outcome is BatchOutcome.WORKED:
            self._limit = min(self._largest, limit * 2)
        else:
            await self._forget_ahead()
        return outcome

    async def _with_proofs(self, batch: Batch) -> BatchOutcome:
        """Write the batch; read what it lacks, blocks or proofs of finality, and write it again.

        These are read after the database transaction was rolled back, so that no lock is held meanwhile.
        """
        unplaced: dict[Signature, Unplaced] = {}
        doubts: dict[Signature, FinalityDoubt | None] = {}
        while True:
            try:
                return await self._write_batch(batch, unplaced, doubts)
            except OrderUnknown as unknown:
                unplaced |= await self.blocks.read(unknown.requested)
            except FinalityUnknown as unknown:
                doubts |= await late_finality.doubts(self._rpc, unknown.requested)

    async def _write_batch(
        self,
        batch: Batch,
        unplaced: Mapping[Signature, Unplaced],
        doubts: Mapping[Signature, FinalityDoubt | None],
    ) -> BatchOutcome:
        started = time.perf_counter()
        failures, markets = list(batch.failures), set[MarketId]()
        async with self._pool.transaction() as connection:
            if not await index_progress.try_lock_writer(connection):
                await self._examine_writer(connection)
                return BatchOutcome.ELSEWHERE
            self._prefetch(batch)
            transactions, moved = await self._in_order(connection, batch, unplaced, failures)
            transactions = await self._without_covered(connection, batch, transactions, doubts, failures)
            transactions = await self._take(connection, batch, transactions, failures)
            markets = await self._write(connection, transactions, moved)
            await self._set_aside(connection, batch)
            dead = await inbox.failed(connection, failures)
            await index_progress.advance(connection)
        self._count(batch, transactions, markets, time.perf_counter() - started)
        if dead:
            log.error("dead letters", signatures=dead)
        return BatchOutcome.WORKED

    async def _examine_writer(self, connection: Connection) -> None:
        """End the database session of the writer in another process if that process was stopped."""
        if time.monotonic() >= self._examine_writer_at:
            self._examine_writer_at = time.monotonic() + _EXAMINE_WRITER_EVERY_S
            if await index_progress.end_silent_writer(connection, _SILENT_WRITER_S):
                log.warning("the indexer of another process was stopped, its session is ended")

    def _prefetch(self, batch: Batch) -> None:
        """Start to prefetch the next batch if `batch` is full; otherwise no row is left, and new rows wake the loop."""
        full = (
            len(batch.rows) >= self._limit or sum(len(r.payload) for r in batch.rows.values()) >= MOST_BYTES
        )
        if full and self._ahead is None:
            self._ahead = asyncio.create_task(self._prefetcher.batch(self._limit, batch.ids))

    async def _forget_ahead(self) -> None:
        """Discard the prefetched batch: it may be outdated by the time it could be written."""
        ahead, self._ahead = self._ahead, None
        if ahead:
            ahead.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await ahead

    async def _in_order(
        self,
        connection: Connection,
        batch: Batch,
        unplaced: Mapping[Signature, Unplaced],
        failures: list[InboxFailure],
    ) -> tuple[list[Transaction], set[Signature]]:
        """Return the new transactions with their positions in the block, and the signatures of those that were moved.

        A position is set only where it matters. The moved transactions are indexed ones to which a webhook had given
        another position. Transactions whose position cannot be read now are added to `failures`. Raises OrderUnknown
        when blocks must be read first.
        """
        known = await chain_events.known(connection, [t.row.signature for t in batch.transactions])
        unknown = [t for t in batch.transactions if t.row.signature not in known]
        held = {t.row.signature for t in unknown if t.row.index_in_block is None} & unplaced.keys()
        failures += [_without_position(batch.rows[signature], unplaced[signature]) for signature in held]
        new = [t for t in unknown if t.row.signature not in held]
        neighbours = await chain_events.neighbours(connection, {t.row.slot for t in new if t.events})
        order = batches.order(new, neighbours, self.blocks.positions, unplaced)
        if order.missing:
            raise OrderUnknown(order.missing)
        old = [
            Neighbour(n.slot, n.signature, order.positions[n.signature])
            for n in neighbours
            if n.signature in order.positions
        ]
        if old:
            await chain_events.set_positions(connection, old)
        moved = {n.signature for n in neighbours if n.index_in_block is not None} & order.positions.keys()
        placed = [
            t.at(order.positions[t.row.signature]) if t.row.signature in order.positions else t for t in new
        ]
        return placed, moved

    async def _without_covered(
        self,
        connection: Connection,
        batch: Batch,
        transactions: list[Transaction],
        doubts: Mapping[Signature, FinalityDoubt | None],
        failures: list[InboxFailure],
    ) -> list[Transaction]:
        """Return the transactions without those in slots that the index has passed and that are not proven to be final.

        Webhook deliveries in such slots are fetched from our RPC first. Transactions from our RPC are folded only if
        `doubts` has none of them, else added to `failures`. Raises FinalityUnknown when proofs must be read first.
        """
        through = await index_progress.gap_free_slot(connection)
        old = {t.row.signature: t.row.slot for t in transactions if t.row.slot <= through}
        delivered = old.keys() & batch.digests.keys()
        returned = old.keys() - delivered
        if unknown := [(signature, old[signature]) for signature in returned - doubts.keys()]:
            raise FinalityUnknown(unknown)
        batch.unproven += [batch.rows[signature].id for signature in delivered]
        doubtful = {signature: doubt for signature in returned if (doubt := doubts[signature])}
        failures += [_without_proof(batch.rows[signature], doubt) for signature, doubt in doubtful.items()]
        return [t for t in transactions if t.row.signature not in delivered | doubtful.keys()]

    async def _take(
        self,
        connection: Connection,
        batch: Batch,
        transactions: list[Transaction],
        failures: Sequence[InboxFailure],
    ) -> list[Transaction]:
        """Settle the rows of the batch and return the transactions whose rows were still pending.

        The rows of webhook deliveries move to unconfirmed_transactions: our RPC must return the same.
        """
        rows = batch.rows
        hints = {
            rows[t.row.signature].id: (batch.digests[t.row.signature], t.row.slot)
            for t in transactions
            if t.row.signature in batch.digests
        }
        turned = [row.id for t in transactions if (row := rows[t.row.signature]).reported_not_ours]
        for signature in await deliveries.note_reported_not_ours(connection, turned):
            metrics.FALSE_DELIVERIES.inc()
            log.error("a webhook delivered a transaction of the program as not ours", signature=signature)
        held = {failure.id for failure in failures} | hints.keys()
        done = await inbox.settled(connection, [row_id for row_id in batch.settled if row_id not in held])
        done |= await deliveries.folded(connection, hints)
        return [t for t in transactions if rows[t.row.signature].id in done]

    async def _set_aside(self, connection: Connection, batch: Batch) -> None:
        """Set aside the rows of the batch that cannot be folded: not ours, or deliveries that our RPC must return."""
        await inbox.not_ours(connection, batch.not_ours)
        await deliveries.reported_not_ours(connection, batch.reported_not_ours)
        await deliveries.unproven(connection, batch.unproven)

    async def _write(
        self, connection: Connection, transactions: list[Transaction], moved: set[Signature]
    ) -> set[MarketId]:
        """Write the events and fold them, fold markets of moved transactions again, and return the events' markets."""
        markets = await self._add(connection, transactions) if transactions else set()
        if moved:
            affected = await chain_events.affected_by(connection, moved)
            await self._projector.refold_affected(connection, affected)
        return markets

    async def _add(self, connection: Connection, transactions: list[Transaction]) -> set[MarketId]:
        events = [event for transaction in transactions for event in transaction.events]
        mapped: list[Mapped] = await self._projector.map_markets(connection, events)
        await asyncio.sleep(0)  # lets a webhook request that arrived meanwhile be answered first
        rows = [t.row for t in transactions]
        await self._projector.apply(connection, mapped, lambda: chain_events.add(connection, rows, mapped))
        doubtful = {t.row.signature for t in transactions if t.recovered}
        self.recovered |= {m for event, m in mapped if m and event.signature in doubtful}
        return {market_id for _, market_id in mapped if market_id}

    async def _halve(self, batch: Batch, reason: str) -> None:
        rows = list(batch.rows.values())
        first_time = len(rows) == 1 and rows[0].attempts == 0
        log.warning("batch failed", rows=len(rows), reason=reason, exc_info=first_time)
        self._limit = max(1, len(rows) // 2)
        if len(rows) > 1:
            return
        # This row alone cannot be settled: it is retried later, and the other rows continue.
        await inbox.failed(self._pool, [InboxFailure(id=rows[0].id, error=reason, refetch=rows[0].delivered)])

    def _count(
        self, batch: Batch, transactions: list[Transaction], markets: set[MarketId], seconds: float
    ) -> None:
        if traces.is_on():
            _trace(batch, transactions, seconds)
        names = Counter(kind_of(e.event).__name__ for t in transactions for e in t.events)
        for name, number in names.items():
            metrics.EVENTS.labels(name).inc(number)
        self.events_total += names.total()
        metrics.UNKNOWN_EVENTS.inc(sum(t.row.unknown_events for t in transactions))
        metrics.TRANSACTIONS.labels("new").inc(len(transactions))
        metrics.TRANSACTIONS.labels("known_or_not_ours").inc(len(batch.rows) - len(transactions))
        metrics.WRITE_SECONDS.observe(seconds)
        log.info(
            "batch indexed",
            rows=len(batch.rows),
            transactions=len(transactions),
            events=names.total(),
            signatures=[t.row.signature for t in transactions[:_NAMED_SIGNATURES]],
            markets=sorted(markets)[:_NAMED_MARKETS],
            markets_total=len(markets),
            ms=round(seconds * 1000, 1),
        )
        for row in batch.rows.values():
            metrics.VISIBLE_SECONDS.observe(row.age_s + seconds)


def _without_position(row: ReadyTransaction, problem: Unplaced) -> InboxFailure:
    """Return the failure of a row whose position in the block is unknown.

    A delivery, or a transaction that its block does not hold, is fetched again from the RPC.
    """
    return InboxFailure(
        id=row.id,
        error=problem.reason,
        refetch=row.delivered or problem.is_elsewhere,
        most_s=_most_s(problem.is_outage),
    )


def _without_proof(row: ReadyTransaction, doubt: FinalityDoubt) -> InboxFailure:
    return InboxFailure(id=row.id, error=doubt.reason, refetch=True, most_s=_most_s(doubt.is_outage))


def _most_s(is_outage: bool) -> int:
    return inbox.UNAVAILABLE_PAUSE_S if is_outage else inbox.MAX_PAUSE_S


def _trace(batch: Batch, transactions: list[Transaction], seconds: float) -> None:
    """Record two trace spans for each transaction: from its receipt to the commit, and the write of its batch."""
    ended_ns, write_ns = time.time_ns(), int(seconds * 1e9)
    for transaction in transactions:
        row = transaction.row
        inbox_row = batch.rows[row.signature]
        began_ns = ended_ns - int(inbox_row.age_s * 1e9) - write_ns
        source = "webhook" if inbox_row.delivered else "rpc"
        given: traces.Attributes = {
            "zmart.slot": row.slot,
            "zmart.events": row.event_count,
            "zmart.source": source,
        }
        traces.record(traces.TransactionStep.INDEX, row.signature, began_ns, given, ended_ns)
        size = {"zmart.batch.transactions": len(transactions)}
        traces.record(traces.TransactionStep.COMMIT, row.signature, ended_ns - write_ns, size, ended_ns)
