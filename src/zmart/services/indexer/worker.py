"""The worker: inbox rows to events and projections, a batch at a time, each batch one transaction."""

from __future__ import annotations

import time
from collections import Counter, OrderedDict
from enum import Enum, auto

import structlog

from zmart.chain.program import Program
from zmart.chain.rpc import Rpc
from zmart.errors import ChainError
from zmart.market.types import Signature, Slot
from zmart.services.indexer import batch as batches
from zmart.services.indexer import metrics
from zmart.services.indexer.batch import Batch, OrderUnknown, Transaction
from zmart.services.indexer.bell import Bell
from zmart.services.indexer.folding import Folder, Mapped
from zmart.store import chain_events, inbox, index_progress
from zmart.store.inbox import Failure, Ready
from zmart.store.pool import Connection, Pool, is_away

_BLOCKS_KEPT = 4096
_TAKEOVER_S = 1.0
log = structlog.get_logger()


class Turn(Enum):
    """How a turn of the worker ended."""

    WORKED = auto()
    IDLE = auto()
    ELSEWHERE = auto()


class Worker:
    """`turn()` settles one batch; `run(stop)` does so whenever something is in the inbox."""

    def __init__(self, pool: Pool, rpc: Rpc, program: Program, folder: Folder, batch_size: int) -> None:
        self._pool = pool
        self._rpc = rpc
        self._program = program
        self._folder = folder
        self._largest = self._limit = batch_size
        self._rows: list[Ready] = []
        self._blocks: OrderedDict[Slot, dict[Signature, int]] = OrderedDict()
        self.events_total = 0

    async def run(self, bell: Bell) -> None:
        """Until the bell stops. It rings when something came into the inbox."""
        while not bell.stopped:
            bell.clear()
            try:
                turn = await self.turn()
                if turn is Turn.WORKED:
                    continue
                pause_s = (
                    _TAKEOVER_S
                    if turn is Turn.ELSEWHERE
                    else await inbox.next_due_s(self._pool, has_payload=True)
                )
            except Exception as error:
                if not is_away(error):
                    raise
                log.warning("database away", error=str(error))
                pause_s = 1.0
            await bell.wait(pause_s)

    async def turn(self) -> Turn:
        """One batch. A batch that fails is tried in halves, down to the row that is to blame."""
        limit, self._rows = self._limit, []
        try:
            turn = await self._with_order(limit)
        except Exception as error:
            if is_away(error) or not self._rows:
                raise
            rows = self._rows
            reason = f"{type(error).__name__}: {error}"
            first_time = len(rows) == 1 and rows[0].attempts == 0
            log.warning("batch failed", rows=len(rows), reason=reason, exc_info=first_time)
            self._limit = max(1, len(rows) // 2)
            if len(rows) == 1:
                await self._blame(reason)
            return Turn.WORKED
        self._limit = min(self._largest, limit * 2)
        return turn

    async def _with_order(self, limit: int) -> Turn:
        """A block is asked for outside of the transaction, then the batch begins again."""
        unreadable: dict[Slot, str] = {}
        while True:
            try:
                return await self._settle(limit, unreadable)
            except OrderUnknown as unknown:
                unreadable |= await self._read_blocks(unknown)

    async def _settle(self, limit: int, unreadable: dict[Slot, str]) -> Turn:
        started = time.perf_counter()
        async with self._pool.transaction() as connection:
            if not await index_progress.try_lock_writer(connection):
                return Turn.ELSEWHERE
            rows = self._rows = await inbox.ready(connection, limit)
            if not rows:
                return Turn.IDLE
            batch = batches.read(self._program, rows)
            transactions = await self._in_order(connection, batch, unreadable)
            await self._write(connection, transactions)
            await inbox.settled(connection, batch.settled)
            dead = await inbox.failed(connection, batch.failures)
            await index_progress.advance(connection)
        self._count(batch, transactions, time.perf_counter() - started)
        if dead:
            log.error("dead letters", signatures=dead)
        return Turn.WORKED

    async def _in_order(
        self, connection: Connection, batch: Batch, unreadable: dict[Slot, str]
    ) -> list[Transaction]:
        """The transactions that are new, each with its place in the block where that matters."""
        known = await chain_events.known(connection, [t.row.signature for t in batch.transactions])
        new = [t for t in batch.transactions if t.row.signature not in known and t.row.slot not in unreadable]
        batch.failures += [
            Failure(id=batch.rows[t.row.signature].id, error=unreadable[t.row.slot])
            for t in batch.transactions
            if t.row.signature not in known and t.row.slot in unreadable
        ]
        neighbours = await chain_events.neighbours(connection, {t.row.slot for t in new if t.events})
        order = batches.order(new, neighbours, self._blocks)
        if order.missing:
            members: dict[Slot, set[Signature]] = {slot: set() for slot in order.missing}
            for slot, signature in [(t.row.slot, t.row.signature) for t in new if t.events] + [
                (n.slot, n.signature) for n in neighbours
            ]:
                if slot in members:
                    members[slot].add(signature)
            raise OrderUnknown(members)
        old = {n.signature for n in neighbours} & order.places.keys()
        if old:
            await chain_events.place(connection, {signature: order.places[signature] for signature in old})
        return [t.at(order.places[t.row.signature]) if t.row.signature in order.places else t for t in new]

    async def _write(self, connection: Connection, transactions: list[Transaction]) -> None:
        if not transactions:
            return
        events = [event for transaction in transactions for event in transaction.events]
        mapped: list[Mapped] = await self._folder.map_markets(connection, events)
        await chain_events.add(connection, [t.row for t in transactions], mapped)
        if mapped:
            await self._folder.apply(connection, mapped)

    async def _read_blocks(self, unknown: OrderUnknown) -> dict[Slot, str]:
        """Ask for the blocks; returns the slots whose order cannot be known now, and why."""
        unreadable: dict[Slot, str] = {}
        for slot, wanted in unknown.wanted.items():
            try:
                signatures = await self._rpc.get_block_signatures(slot)
            except ChainError as error:
                unreadable[slot] = f"The block of slot {slot} cannot be read: {error}"
                continue
            places = {s: place for place, s in enumerate(signatures or ()) if s in wanted}
            if wanted - places.keys():
                unreadable[slot] = f"The block of slot {slot} does not hold all transactions that name it."
            self._blocks[slot] = places
        while len(self._blocks) > _BLOCKS_KEPT:
            self._blocks.popitem(last=False)
        return unreadable

    async def _blame(self, reason: str) -> None:
        """The first row alone cannot be settled: try it again later, others go on."""
        async with self._pool.transaction() as connection:
            rows = await inbox.ready(connection, 1)
            dead = await inbox.failed(connection, [Failure(id=row.id, error=reason) for row in rows])
        if dead:
            log.error("dead letters", signatures=dead, reason=reason)

    def _count(self, batch: Batch, transactions: list[Transaction], seconds: float) -> None:
        names = Counter(type(e.event).__name__ for t in transactions for e in t.events)
        for name, number in names.items():
            metrics.EVENTS.labels(name).inc(number)
        self.events_total += names.total()
        metrics.UNKNOWN_EVENTS.inc(sum(t.row.unknown_events for t in transactions))
        metrics.TRANSACTIONS.labels("new").inc(len(transactions))
        metrics.TRANSACTIONS.labels("known_or_foreign").inc(len(batch.rows) - len(transactions))
        metrics.WRITE_SECONDS.observe(seconds)
        for row in batch.rows.values():
            metrics.VISIBLE_SECONDS.observe(row.age_s + seconds)
