"""Build a market's snapshot from the database, and store its bytes before it is pinned."""

from __future__ import annotations

import asyncio
import time
from datetime import date
from functools import partial

import msgspec
import structlog

from zmart.errors import Conflict, NotFound
from zmart.ipfs.cid import cid_of
from zmart.market.types import MarketId
from zmart.proofs.snapshot import CID_VERSION, document, log_head
from zmart.services.snapshots import metrics
from zmart.store import anchors, snapshot_source
from zmart.store.anchors import LatestSnapshot, NewSnapshot
from zmart.store.pool import Pool
from zmart.store.snapshot_source import SnapshotSource

_ROW = msgspec.json.Decoder(dict[str, object])
_ROWS = msgspec.json.Decoder(list[dict[str, object]])
_PEAKS = msgspec.json.Decoder(list[tuple[int, int, str]])

log = structlog.get_logger()


class BuiltSnapshot(msgspec.Struct, frozen=True):
    """A market's snapshot of a day; `is_new` is false if the day already had this one."""

    market_id: MarketId
    cid: str
    is_new: bool


class SnapshotBuilder:
    """Build and store snapshots; `provider` names the pinning provider that is to pin them."""

    def __init__(self, pool: Pool, program: str, provider: str) -> None:
        self._pool = pool
        self._program = program
        self._provider = provider

    async def build(self, market_id: MarketId, day: date, *, once: bool = False) -> BuiltSnapshot:
        """Build and store the market's snapshot of `day`, and return it.

        If the day's snapshot would not change, it is not stored again; with `once` it is kept even if it would. Each
        new snapshot names the market's snapshot before it. Raises NotFound for an unknown market, and Conflict for a
        day before the newest snapshot.

        The document is made outside of a transaction and of the event loop: a long discussion takes seconds, and
        PostgreSQL ends a session that pauses in a transaction for 8 s.
        """
        started = time.perf_counter()
        new: NewSnapshot | None = None
        while new is None:
            async with self._pool.transaction() as connection:
                latest = await anchors.latest(connection, market_id)
                if once and latest is not None and day == latest.day:
                    return BuiltSnapshot(market_id, latest.cid, is_new=False)
                source = await snapshot_source.read(connection, market_id)
            if source is None:
                raise NotFound(f"There is no market {market_id}.")
            if latest is not None and day < latest.day:
                raise Conflict(f"The market already has a snapshot of {latest.day}: {day} is over.")
            make = partial(self._snapshot, source, market_id, day)
            if latest is not None and day == latest.day:
                same = await asyncio.to_thread(make, latest.previous_cid)
                if same.cid == latest.cid:
                    return BuiltSnapshot(market_id, latest.cid, is_new=False)
            next_one = await asyncio.to_thread(make, latest.cid if latest else None)
            new = await self._add_after(latest, next_one)
        metrics.built.inc()
        log.info(
            "snapshot built",
            market=market_id,
            day=day.isoformat(),
            cid=new.cid,
            bytes=len(new.content),
            comments=new.comments,
            ms=round((time.perf_counter() - started) * 1000, 1),
        )
        return BuiltSnapshot(market_id, new.cid, is_new=True)

    async def _add_after(self, latest: LatestSnapshot | None, new: NewSnapshot) -> NewSnapshot | None:
        """Store a snapshot that follows `latest`, and return it. Returns None, having stored nothing, if another
        process has stored one meanwhile."""
        async with self._pool.transaction() as connection:
            await anchors.lock(connection, new.market_id)
            if await anchors.latest(connection, new.market_id) != latest:
                return None
            await anchors.add(connection, new)
        return new

    def _snapshot(
        self, source: SnapshotSource, market_id: MarketId, day: date, previous: str | None
    ) -> NewSnapshot:
        """Return the snapshot of `day` that follows the snapshot with the CID `previous`."""
        comments = [_ROW.decode(comment) for comment in source.comments]
        content = document(
            program=self._program,
            genesis_hash=source.genesis_hash,
            day=day,
            previous=previous,
            market=_ROW.decode(source.market),
            comments=comments,
            log=log_head(source.log_size, _PEAKS.decode(source.log_peaks)),
            tallies=_ROWS.decode(source.tallies),
            voting_terms=_ROWS.decode(source.voting_terms),
        )
        return NewSnapshot(
            market_id=market_id,
            day=day,
            cid=cid_of(content, CID_VERSION),
            previous_cid=previous,
            content=content,
            comments=len(comments),
            provider=self._provider,
        )
