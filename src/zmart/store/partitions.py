"""Keep the partitions of chain_events: make those that the chain comes to next, and empty the default partition.

A partition holds PARTITION_SLOTS slots; the first one everything before the first such bound. What lies in none of them
is in the default partition, so that no event is ever refused.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from zmart.market.types import Slot
from zmart.store import index_progress
from zmart.store.pool import Connection, Pool

PARTITION_SLOTS = 10_000_000
"""Slots of a partition: 46 days at 0.4 s a slot."""
AHEAD = 2
"""So many partitions exist beyond the one that the chain is in."""

# The end of a partition stands in the catalog as text: FOR VALUES FROM ('10000000') TO ('20000000').
_READ = r"""
SELECT (SELECT greatest(tip_slot, final_slot) FROM index_progress WHERE greatest(tip_slot, final_slot) > 0),
    (SELECT min(slot) FROM chain_events_default), (SELECT max(slot) FROM chain_events_default),
    ARRAY(SELECT end_slot::bigint FROM pg_inherits JOIN pg_class c ON c.oid = inhrelid,
              substring(pg_get_expr(c.relpartbound, c.oid) FROM 'TO \(''(\d+)''\)') AS end_slot
          WHERE inhparent = 'chain_events'::regclass AND end_slot IS NOT NULL ORDER BY 1)
"""
# Without its writer: an event on its way to the default partition would fail once it belongs to another one.
_WAIT_FOR_WRITER = "SET LOCAL lock_timeout = '5s'"
# Reading goes on meanwhile, except in the default partition, which is checked and emptied. A session that waits for its
# lock makes others wait behind it: so not for long.
_BEGIN = """
SET LOCAL lock_timeout = '500ms';
LOCK TABLE ONLY chain_events IN SHARE UPDATE EXCLUSIVE MODE;
LOCK TABLE chain_events_default IN ACCESS EXCLUSIVE MODE;
CREATE TABLE {name} (LIKE chain_events INCLUDING INDEXES);
ALTER TABLE {name} ENABLE ROW LEVEL SECURITY;
ALTER TABLE {name} REPLICA IDENTITY FULL;
"""
_MOVE = """
WITH moved AS (DELETE FROM chain_events_default WHERE slot >= {start} AND slot < {end} RETURNING *)
INSERT INTO {name} SELECT * FROM moved ORDER BY slot, signature, ordinal
"""
_ATTACH = "ALTER TABLE chain_events ATTACH PARTITION {name} FOR VALUES FROM ({start}) TO ({end})"


class EventPartitions(msgspec.Struct, frozen=True):
    """The partitions by their `ends`, the first slot behind each. `tip_slot`: the chain's newest; None before it is
    known. `lowest_outside`, `highest_outside`: the slots of what is in the default partition; None if it is empty."""

    tip_slot: Slot | None
    lowest_outside: Slot | None
    highest_outside: Slot | None
    ends: Sequence[int]

    @property
    def next_missing(self) -> int | None:
        """The start of a partition that should be made now: for what lies in none, up to AHEAD partitions beyond the
        chain's tip, then for the slots to come. None: all are there."""
        if self.tip_slot is None:
            return None
        last = _start_of(self.tip_slot) + AHEAD * PARTITION_SLOTS
        if self.lowest_outside is not None and self.lowest_outside < last + PARTITION_SLOTS:
            return _start_of(self.lowest_outside)
        due = range(_start_of(self.tip_slot), last + 1, PARTITION_SLOTS)
        return next((start for start in due if not self._covers(start)), None)

    def _covers(self, start: int) -> bool:
        end = start + PARTITION_SLOTS
        return end in self.ends or end <= min(self.ends, default=0)


class AddedPartition(msgspec.Struct, frozen=True):
    """A partition that was made: its first slot, and how many events the default partition held of it."""

    start: int
    moved: int


async def read(db: Pool | Connection) -> EventPartitions:
    """Return which partitions there are."""
    [row] = await db.fetch(_READ)
    return EventPartitions(*row)


async def add_missing(pool: Pool) -> AddedPartition | None:
    """Make the partition that is missing most, with what the default partition holds of it; None if none is missing.
    Raises Busy if the index is written, or the default partition read, for too long meanwhile."""
    if (await read(pool)).next_missing is None:
        return None
    async with pool.transaction() as connection:
        await connection.execute(_WAIT_FOR_WRITER)
        await index_progress.lock_writer(connection)
        start = (await read(connection)).next_missing  # another process may have made it meanwhile
        return None if start is None else AddedPartition(start, await add(connection, start))


async def add(connection: Connection, start: int) -> int:
    """Make the partition that begins at slot `start`, and return how many events the default partition held of it.
    Needs a transaction under the writer's lock."""
    values = {"name": f"chain_events_from_{start}", "start": start, "end": start + PARTITION_SLOTS}
    await connection.execute(_BEGIN.format(**values))
    moved: str = await connection.execute(_MOVE.format(**values))
    await connection.execute(_ATTACH.format(**values))
    return int(moved.rpartition(" ")[2])


def _start_of(slot: int) -> int:
    return slot // PARTITION_SLOTS * PARTITION_SLOTS
