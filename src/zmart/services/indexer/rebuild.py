"""Every projection computed again from chain_events, beside the old rows: what is equal is not written again."""

from __future__ import annotations

from collections.abc import Callable

from zmart.services.indexer.folding import Folder
from zmart.store import chain_events, index_progress
from zmart.store.pool import Pool

_MARKETS_AT_ONCE = 200
Progress = Callable[[int], None]


async def rebuild(pool: Pool, folder: Folder, progress: Progress = lambda _: None) -> int:
    """One transaction under the writer's lock: readers see the old rows until all new ones are there.
    `progress` is told the number of markets done. Returns how many markets there are."""
    done = 0
    async with pool.transaction() as connection:
        await index_progress.lock_writer(connection)
        await folder.refold_config(connection)
        after = ""
        while market_ids := await chain_events.market_ids(connection, after, _MARKETS_AT_ONCE):
            await folder.refold(connection, market_ids)
            after = market_ids[-1]
            done += len(market_ids)
            progress(done)
    return done
