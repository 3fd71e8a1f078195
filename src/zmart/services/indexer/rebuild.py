"""Compute every projection again from chain_events, beside the live tables, then compare and merge.

Reads and indexing continue during the fold. Only at the end the rebuild takes the writer's lock, folds those markets
again whose events have changed since, and merges.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

import msgspec

from zmart.market.types import MarketId
from zmart.services.indexer.projector import Projector
from zmart.store import index_progress, shadow
from zmart.store.pool import Connection, Pool

MARKETS_AT_ONCE = 200
_CONFIG = ""
Progress = Callable[[int, int], None]


class Rebuilt(msgspec.Struct, frozen=True, kw_only=True):
    """The result of a rebuild: the number of markets, and two numbers for each table.

    `rows` counts the rebuilt rows by table, `different` the rows that differed from the live ones, byte for byte.
    """

    markets: int
    rows: dict[str, int]
    different: dict[str, int]

    @property
    def was_equal(self) -> bool:
        """Whether the live tables already equalled the rebuilt ones: no row differed."""
        return not any(self.different.values())


async def rebuild(
    pool: Pool,
    projector: Projector,
    progress: Progress = lambda done, of: None,
    markets_at_once: int = MARKETS_AT_ONCE,
) -> Rebuilt:
    """Rebuild all projections, `markets_at_once` markets in a transaction.

    `progress` is called with (markets done, all markets). Raises Conflict while another rebuild runs.
    """
    async with pool.acquire() as connection, shadow.schema(connection):
        seen = await shadow.digests(connection)
        markets = sorted(MarketId(m) for m in seen if m != _CONFIG)
        async with connection.transaction():
            await shadow.write_here(connection)
            await projector.refold_config(connection)
        for start in range(0, len(markets), markets_at_once):
            await _fold(connection, projector, markets[start : start + markets_at_once])
            progress(min(start + markets_at_once, len(markets)), len(markets))
        async with connection.transaction():
            await index_progress.lock_writer(connection)
            now = await shadow.digests(connection)
            await _catch_up(connection, projector, seen, now, markets_at_once)
            rows, different = await shadow.merge(connection)
    return Rebuilt(markets=len(now.keys() - {_CONFIG}), rows=rows, different=different)


async def _fold(connection: Connection, projector: Projector, markets: Collection[MarketId]) -> None:
    async with connection.transaction():
        await shadow.write_here(connection)
        await projector.refold(connection, markets)


async def _catch_up(
    connection: Connection,
    projector: Projector,
    seen: shadow.Digests,
    now: shadow.Digests,
    markets_at_once: int,
) -> None:
    """Fold again the markets whose events changed during the rebuild; all markets if the config's events changed.

    It runs inside the transaction of the merge.
    """
    every = now.keys() | seen.keys()
    if now.get(_CONFIG) == seen.get(_CONFIG):
        every = {m for m in every if now.get(m) != seen.get(m)}
    changed = sorted(MarketId(m) for m in every if m != _CONFIG)
    await shadow.write_here(connection)
    await projector.refold_config(connection)
    for start in range(0, len(changed), markets_at_once):
        await projector.refold(connection, changed[start : start + markets_at_once])
    await shadow.write_live(connection)
