"""List the program's transactions in a range of slots and index those that are missing, beside a running indexer or
without one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec

from zmart.market.types import Slot
from zmart.services.indexer.engine import Engine
from zmart.services.indexer.event_partitions import PartitionKeeper
from zmart.services.indexer.listing import pages
from zmart.services.indexer.sources import store_listed
from zmart.services.indexer.worker import BatchOutcome
from zmart.store import backfills, chain_finality, inbox_backlog, index_progress

_POLL_S = 0.5
Progress = Callable[[str, int, int], None]


class BackfillResult(msgspec.Struct, frozen=True, kw_only=True):
    """The result of a backfill.

    `new_count` transactions were not in the index before; those of an interrupted run that was continued count, too.
    `dead` is the number of all dead letters, also of older ones. The slots are those of the index afterwards.
    """

    new_count: int
    dead: int
    gap_free_slot: Slot
    tip_slot: Slot


async def backfill(
    engine: Engine,
    from_slot: Slot | None = None,
    to_slot: Slot | None = None,
    progress: Progress = lambda what, done, of: None,
) -> BackfillResult:
    """Index the transactions from `from_slot` to `to_slot`, both included.

    Without `from_slot` it lists from where the last listing ended; without `to_slot`, to the tip. `to_slot` needs a
    `from_slot`. `progress` is called with ("listing", slots done, all slots) and ("indexing", transactions done, all
    transactions). An interrupted backfill continues where it was. Raises ChainError or StoreError.
    """
    new_count = await engine.scanner.scan() if to_slot is None else 0
    if from_slot is not None:
        new_count += await _list(
            engine, from_slot, backfills.OPEN_END if to_slot is None else to_slot, progress
        )
    dead = await _index_pending(engine, progress)
    while await engine.confirmer.turn():
        pass
    await engine.finality.check()
    end = await index_progress.read(engine.pool)
    assert end is not None  # claimed when the engine was opened
    return BackfillResult(
        new_count=new_count, dead=dead, gap_free_slot=end.gap_free_through_slot, tip_slot=end.tip_slot
    )


async def _list(engine: Engine, from_slot: Slot, to_slot: Slot, progress: Progress) -> int:
    cursor = await backfills.begin(engine.pool, from_slot, to_slot)
    before = cursor.oldest_signature or await chain_finality.first_final_after(engine.pool, to_slot)
    top = cursor.oldest_slot or min(to_slot, await engine.rpc.get_slot())
    new_count = cursor.new_count
    final = await engine.rpc.get_slot("finalized")
    below = await chain_finality.final_below(engine.pool, from_slot)
    listed = pages(
        engine.rpc, engine.program.address, engine.pace,
        floor=from_slot, before=before, since=final, continues=below.is_listed,
    )  # fmt: skip
    async for page in listed:
        fresh = await store_listed(engine.pool, [info for info in page if info.slot <= to_slot])
        new_count += fresh
        if page:
            last = page[-1]
            await backfills.listed_to(engine.pool, from_slot, to_slot, last.signature, last.slot, fresh)
            progress("listing", max(0, top - last.slot), max(1, top - from_slot))
    await engine.pace.turn()
    await engine.rpc.check_lists(engine.program.address)
    await backfills.ended(engine.pool, from_slot, to_slot)
    return new_count


async def _index_pending(engine: Engine, progress: Progress) -> int:
    waiting = await inbox_backlog.depth(engine.pool)
    total = waiting.pending
    partitions = PartitionKeeper(engine.pool)
    while waiting.pending:
        fetched = await engine.fetcher.turn()
        while await engine.worker.turn() is BatchOutcome.WORKED:
            pass
        await partitions.turn()
        waiting = await inbox_backlog.depth(engine.pool)
        total = max(total, waiting.pending)
        progress("indexing", total - waiting.pending, total)
        if not fetched and waiting.pending:
            await asyncio.sleep(_POLL_S)  # leased by another process, or waiting for its next attempt
    return waiting.dead
