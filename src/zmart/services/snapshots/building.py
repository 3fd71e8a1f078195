"""Build a market's snapshot from the database, and store its bytes before it is pinned."""

from __future__ import annotations

import time
from datetime import date

import msgspec
import structlog

from zmart.errors import Conflict, NotFound
from zmart.ipfs.cid import cid_of
from zmart.market.types import MarketId
from zmart.proofs.snapshot import CID_VERSION, document, log_head
from zmart.services.snapshots import metrics
from zmart.store import anchors, snapshot_source
from zmart.store.anchors import NewSnapshot
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
        """
        started = time.perf_counter()
        async with self._pool.transaction() as connection:
            await anchors.lock(connection, market_id)
            latest = await anchors.latest(connection, market_id)
            if once and latest is not None and day == latest.day:
                return BuiltSnapshot(market_id, latest.cid, is_new=False)
            source = await snapshot_source.read(connection, market_id)
            if source is None:
                raise NotFound(f"There is no market {market_id}.")
            if latest is not None and day < latest.day:
                raise Conflict(f"The market already has a snapshot of {latest.day}: {day} is over.")
            if latest is not None and day == latest.day:
                same, _ = self._document(source, day, latest.previous_cid)
                if cid_of(same, CID_VERSION) == latest.cid:
                    return BuiltSnapshot(market_id, latest.cid, is_new=False)
            previous = latest.cid if latest else None
            content, comments = self._document(source, day, previous)
            new = NewSnapshot(
                market_id=market_id,
                day=day,
                cid=cid_of(content, CID_VERSION),
                previous_cid=previous,
                content=content,
                comments=comments,
                provider=self._provider,
            )
            await anchors.add(connection, new)
        metrics.built.inc()
        log.info(
            "snapshot built",
            market=market_id,
            day=day.isoformat(),
            cid=new.cid,
            bytes=len(content),
            comments=comments,
            ms=round((time.perf_counter() - started) * 1000, 1),
        )
        return BuiltSnapshot(market_id, new.cid, is_new=True)

    def _document(self, source: SnapshotSource, day: date, previous: str | None) -> tuple[bytes, int]:
        """Return the bytes of the snapshot document, and the number of comments in it."""
        comments = _ROWS.decode(source.comments)
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
        return content, len(comments)
