"""Create the partitions of chain_events ahead of the chain, and move events from the default partition into them.

A partition holds PARTITION_SLOTS slots. The first partition holds all slots before a multiple of this number. Events of
slots without a partition go to the default partition, so no event is ever refused.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from zmart.market.types import Slot
from zmart.store import index_progress
from zmart.store.pool import Connection, Pool

PARTITION_SLOTS = 10_000_000
"""The number of slots in a partition: 46 days at 0.4 seconds a slot."""
AHEAD = 2
"""The number of partitions that are created beyond the one with the chain's newest slot."""

# The catalog holds the bounds of a partition as text: FOR VALUES FROM ('10000000') TO ('20000000').
_READ = r"""
SELECT (SELECT greatest(tip_slot, final_slot) FROM index_progress WHERE greatest(tip_slot, final_slot) > 0),
    (SELECT min(slot) FROM chain_events_default), (SELECT max(slot) FROM chain_events_default),
    ARRAY(SELECT end_slot::bigint FROM pg_inherits JOIN pg_class c ON c.oid = inhrelid,
              substring(pg_get_expr(c.relpartbound, c.oid) FROM 'TO \(''(\d+)''\)') AS end_slot
          WHERE inhparent = 'chain_events'::regclass AND end_slot IS NOT NULL ORDER BY 1)
"""
# The index's writer must not run meanwhile: an event that it inserts into the default partition would be refused once
# the event's slot belongs to another partition.
_WAIT_FOR_WRITER = "SET LOCAL lock_timeout = '5s'"
# Other sessions can read meanwhile, except the default partition, which is checked and emptied. While this session
# waits for a lock, other sessions wait behind it, so the wait is short.
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
    """The existing partitions. `ends`: the first slot after each. `tip_slot`: the chain's newest slot, None before it
    is known. `lowest_outside` and `highest_outside`: the lowest and highest slot of an event in the default partition,
    None if it is empty."""

    tip_slot: Slot | None
    lowest_outside: Slot | None
    highest_outside: Slot | None
    ends: Sequence[int]

    @property
    def next_missing(self) -> int | None:
        """The first slot of the partition to create next; None if none is missing or the chain's newest slot
        is unknown. It is the one of the lowest event in
        the default partition, unless that is more than AHEAD partitions beyond the chain's newest slot; otherwise the
        first missing one from the newest slot on, up to AHEAD partitions beyond it."""
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
    """A partition that was created: its first slot, and how many events were moved from the default partition to it."""

    start: int
    moved: int


async def read(db: Pool | Connection) -> EventPartitions:
    """Return the existing partitions of chain_events."""
    [row] = await db.fetch(_READ)
    return EventPartitions(*row)


async def add_missing(pool: Pool) -> AddedPartition | None:
    """Create the partition that is missing first, and move its events from the default partition to it. Returns None
    if none is missing. Raises Busy if the writer's lock (within 5 seconds) or a lock on a table (0.5 seconds) is not
    free."""
    if (await read(pool)).next_missing is None:
        return None
    async with pool.transaction() as connection:
        await connection.execute(_WAIT_FOR_WRITER)
        await index_progress.lock_writer(connection)
        start = (await read(connection)).next_missing  # another process may have created it meanwhile
        return None if start is None else AddedPartition(start, await add(connection, start))


async def add(connection: Connection, start: int) -> int:
    """Create the partition that begins at slot `start`, and move its events from the default partition to it.
    Returns how many events were moved. Needs a transaction under the writer's lock."""
    values = {"name": f"chain_events_from_{start}", "start": start, "end": start + PARTITION_SLOTS}
    await connection.execute(_BEGIN.format(**values))
    moved: str = await connection.execute(_MOVE.format(**values))
    await connection.execute(_ATTACH.format(**values))
    return int(moved.rpartition(" ")[2])


def _start_of(slot: int) -> int:
    return slot // PARTITION_SLOTS * PARTITION_SLOTS
