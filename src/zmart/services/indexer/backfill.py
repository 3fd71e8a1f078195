"""List the chain from a slot on and settle everything, beside a running indexer or without one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec

from zmart.market.types import Slot
from zmart.services.indexer.engine import Engine
from zmart.services.indexer.worker import Turn
from zmart.store import inbox, index_progress

_LOOK_AGAIN_S = 0.5


class Backfilled(msgspec.Struct, frozen=True, kw_only=True):
    """`found` transactions were not known before; `dead` letters are all there are now."""

    found: int
    dead: int
    gap_free_slot: Slot
    tip_slot: Slot


async def backfill(
    engine: Engine, from_slot: Slot | None, progress: Callable[[int, int], None] = lambda done, of: None
) -> Backfilled:
    """`progress` is told (settled, found). Safe to break off and to run again."""
    if from_slot is not None:
        await index_progress.rewind(engine.pool, from_slot)
    found = await engine.scanner.scan()
    waiting = await inbox.depth(engine.pool)
    total = waiting.pending
    while waiting.pending:
        fetched = await engine.fetcher.turn()
        while await engine.worker.turn() is Turn.WORKED:
            pass
        waiting = await inbox.depth(engine.pool)
        total = max(total, waiting.pending)
        progress(total - waiting.pending, total)
        if not fetched and waiting.pending:
            await asyncio.sleep(_LOOK_AGAIN_S)  # leased by another process, or waiting for its next attempt
    await index_progress.advance(engine.pool)
    end = await index_progress.read(engine.pool)
    assert end is not None  # claimed when the engine was opened
    return Backfilled(
        found=found, dead=waiting.dead, gap_free_slot=end.gap_free_through_slot, tip_slot=end.tip_slot
    )
