"""Find transactions without the webhook: by scans of the program's signatures, and by the RPC's logsSubscribe."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import aclosing

import structlog

from zmart.chain import subscriptions
from zmart.chain.program import Program
from zmart.chain.rpc import Rpc
from zmart.chain.rpc_types import SignatureInfo
from zmart.errors import ChainError, StoreError
from zmart.market.types import Signature, Slot
from zmart.services.indexer.listing import PAGE, Pace, backwards, pages
from zmart.services.indexer.wake_signal import WakeSignal
from zmart.store import chain_events, chain_finality, deliveries, inbox, index_progress
from zmart.store.chain_events import TransactionRow
from zmart.store.inbox import Hint
from zmart.store.pool import Pool
from zmart.store.retrying import Outages, retrying

_OVERLAP_SLOTS = 64
"""How many slots a scan repeats, twice what finality takes: it corrects the list of a node that was behind."""
_QUEUE = 10_000
_REFUSED_RETRY_S = 60.0
log = structlog.get_logger()


class Scanner:
    """List the program's transactions, so that none is missed, whatever the webhook lost.

    A scan lists from the slot through which the list is complete and final, less an overlap, to the tip. `trouble` is
    why the last scan failed, "" if it succeeded. `backwards` holds two slots of the listing that were in the wrong
    order, None if there were none.
    """

    def __init__(self, pool: Pool, rpc: Rpc, program: Program, pace: Pace, interval_s: float) -> None:
        self._pool = pool
        self._rpc = rpc
        self._program = program
        self._pace = pace
        self._interval_s = interval_s
        self._node_checked = False
        self.backwards: tuple[Slot, Slot] | None = None
        self.trouble = ""

    async def run(self, signal: WakeSignal, outages: Outages) -> None:
        """Scan every `interval_s` seconds until the service stops; a wake of `signal` ends a pause early."""
        await retrying(self._scan_then_pause, signal, "The scan", outages)

    async def _scan_then_pause(self) -> float:
        try:
            await self.scan()
            self.trouble = ""
        except ChainError as error:
            self.trouble = str(error)
            log.warning("scan failed", error=str(error))
        return self._interval_s

    async def scan(self) -> int:
        """Scan once and return how many transactions were new.

        Raises ChainError when the list cannot be used. What was listed until then is stored, and completes nothing.
        """
        progress = await index_progress.read(self._pool)
        assert progress is not None  # claimed when the service started
        final = await self._rpc.get_slot("finalized")
        tip = await self._rpc.get_slot("confirmed")
        floor = Slot(max(progress.start_slot, progress.listed_through_slot - _OVERLAP_SLOTS))
        below = await chain_finality.final_below(self._pool, floor)
        fresh, complete = 0, final
        await self._check_node(tip)
        listing = pages(
            self._rpc, self._program.address, self._pace,
            floor=floor, until=below.until, since=final, continues=below.is_listed,
        )  # fmt: skip
        async for page in listing:
            fresh += await store_listed(self._pool, page)
            moved = await chain_finality.lowest_moved(
                self._pool, {info.signature: info.slot for info in page}
            )
            if moved is not None:  # FinalityWatcher puts it where it is listed
                complete = min(complete, Slot(moved - 1))
            self._watch_order(page)
        await self._pace.turn()
        await self._rpc.check_lists(self._program.address)
        # Behind one URL there may be many nodes, one ahead of the other. The node that lists has reached `final`. The
        # list counts as complete through the lower of the final slots that were reported before and after it.
        complete = min(complete, await self._rpc.get_slot("finalized"))
        await index_progress.listed(self._pool, complete, tip)
        await index_progress.advance(self._pool)
        return fresh

    async def _check_node(self, tip: Slot) -> None:
        """Check once that the RPC treats minContextSlot as a condition on the node, not as a filter of the list.

        With such a filter every list would be empty and count as complete. Raises ChainError for such an RPC.
        """
        if self._node_checked:
            return
        await self._pace.turn()
        newest = await self._rpc.get_signatures_for_address(self._program.address, limit=1)
        if not newest or newest[0].slot >= tip:
            return
        later = Slot(newest[0].slot + 1)
        await self._pace.turn()
        demanded = await self._rpc.get_signatures_for_address(self._program.address, limit=1, since=later)
        if not demanded:
            raise ChainError(
                "The RPC drops from a list what lies before minContextSlot: nothing can be indexed by it."
            )
        self._node_checked = True

    def _watch_order(self, page: Sequence[SignatureInfo]) -> None:
        slots = backwards(page)
        if slots and slots != self.backwards:
            self.backwards = slots
            log.error(
                "the chain's slots go backwards: was its clock moved? events are folded in the order of slots",
                slot=slots[0],
                then=slots[1],
            )


async def store_listed(pool: Pool, page: Sequence[SignatureInfo]) -> int:
    """Store a page of the listing and return how many of its transactions were new.

    Failed transactions have no effect: they are recorded without being fetched.
    """
    unknown = await inbox.unknown(pool, [info.signature for info in page])
    new = [info for info in page if info.signature in unknown]
    failed = [_failed(info.signature, info.slot) for info in new if info.err is not None]
    if failed:
        await chain_events.add(pool, failed)
    hints = [Hint(info.signature, info.slot, None) for info in new if info.err is None]
    fresh = len(failed) + (await inbox.store(pool, "scan", hints)).fresh
    await deliveries.listed(pool, {info.signature: info.slot for info in page})
    return fresh


class LiveLog:
    """Store the signatures that logsSubscribe reports, as soon as they are reported.

    A scan finds those that are missed while it reconnects or while its queue is full.
    """

    def __init__(self, pool: Pool, program: Program, ws_url: str, scan_signal: WakeSignal) -> None:
        self._pool = pool
        self._program = program
        self._ws_url = ws_url
        self._scan_signal = scan_signal
        self._queue: asyncio.Queue[Hint] = asyncio.Queue(_QUEUE)

    async def run(self) -> None:
        """Receive and store signatures until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._listen())
            group.create_task(self._write())

    async def _listen(self) -> None:
        while True:
            notices = subscriptions.logs(
                self._ws_url, self._program.address, on_connect=self._scan_signal.wake
            )
            try:
                async with aclosing(notices) as stream:
                    async for notice in stream:
                        if notice.err is None and not self._queue.full():
                            self._queue.put_nowait(Hint(notice.signature, notice.slot, None))
            except ChainError as error:
                log.warning("no live log: the scan alone finds transactions", error=str(error))
            await asyncio.sleep(_REFUSED_RETRY_S)

    async def _write(self) -> None:
        while True:
            hints = [await self._queue.get()]
            while not self._queue.empty() and len(hints) < PAGE:
                hints.append(self._queue.get_nowait())
            try:
                await inbox.store(self._pool, "logs", hints)
            except StoreError:
                self._scan_signal.wake()


def _failed(signature: Signature, slot: Slot) -> TransactionRow:
    return TransactionRow(signature=signature, slot=slot, index_in_block=None, failed=True, event_count=0)
