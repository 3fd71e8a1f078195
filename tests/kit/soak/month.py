"""Take one snapshot a day for a month, so that the retention of 30 days is reached.

To let a day pass, all stored times of the pins are moved back by a day, which is the same for statements that compare
them with now().
"""

from __future__ import annotations

from datetime import date, timedelta

import asyncpg
import msgspec

from zmart.ipfs.pinata import PinataClient
from zmart.market.types import MarketId
from zmart.services.snapshots.runs import SnapshotRuns, today
from zmart.settings import Settings
from zmart.store.pool import Pool

DAYS = 32
_A_DAY_PASSES = """
UPDATE ipfs_anchors SET created_at = created_at - interval '1 day', pinned_at = pinned_at - interval '1 day',
    unpin_after = unpin_after - interval '1 day' WHERE market_id = $1 AND kind = 'snapshot'
"""
_PINS = """
SELECT snapshot_day, cid, unpinned_at IS NOT NULL AS is_unpinned, verified_at IS NOT NULL AS is_verified
FROM ipfs_anchors WHERE market_id = $1 AND kind = 'snapshot' AND snapshot_day >= $2 ORDER BY snapshot_day
"""


class SnapshotDay(msgspec.Struct, frozen=True):
    """The snapshots of one market on a day.

    `count` is their number. `verified`: all were read back. `unpinned`: all are marked as unpinned. `pinned_there`: the
    provider still holds a pin of one.
    """

    day: date
    count: int
    verified: bool
    unpinned: bool
    pinned_there: bool


async def live(settings: Settings, market_id: MarketId, days: int = DAYS) -> list[SnapshotDay]:
    """Take a snapshot on each of `days` days; return the days in order.

    Each snapshot is taken twice, as after a restart of the service; the second one must change nothing.
    """
    pool = await Pool.open(settings.require("database_url"), size=4)
    database = await asyncpg.connect(settings.require("database_url"))
    first = today() + timedelta(days=1)
    try:
        async with PinataClient.from_settings(settings) as pins:
            runs = SnapshotRuns.with_provider(pool, pins, settings)
            for number in range(days):
                await _comment(database, market_id, number)
                for _ in range(2):
                    await runs.run_one(market_id, first + timedelta(days=number))
                await runs.maintain()
                await database.execute(_A_DAY_PASSES, market_id)
            rows = await database.fetch(_PINS, market_id, first)
            return [await _day(pins, first + timedelta(days=number), rows) for number in range(days)]
    finally:
        await database.close()
        await pool.close()


async def _comment(database: asyncpg.Connection, market_id: MarketId, number: int) -> None:
    """Write a comment, so that no two days have the same document."""
    await database.execute(
        "INSERT INTO discussions (market_id, wallet, content) VALUES ($1, $2, $3)",
        market_id, "11111111111111111111111111111111", f"day {number}",
    )  # fmt: skip


async def _day(pins: PinataClient, day: date, rows: list[asyncpg.Record]) -> SnapshotDay:
    of_day = [row for row in rows if row["snapshot_day"] == day]
    return SnapshotDay(
        day,
        len(of_day),
        all(row["is_verified"] for row in of_day),
        all(row["is_unpinned"] for row in of_day),
        any([await pins.is_pinned(row["cid"]) for row in of_day]),
    )
