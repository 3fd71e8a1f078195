"""Keep the partitions of chain_events ahead of the chain, and report events outside of all partitions."""

from __future__ import annotations

import time

import structlog

from zmart.errors import Busy
from zmart.store import partitions
from zmart.store.pool import Pool

_RETRY_AFTER_S = 60.0
log = structlog.get_logger()


class PartitionKeeper:
    """Make the partitions of chain_events before the chain reaches their slots."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._not_before = 0.0
        self._was_outside = False

    async def turn(self) -> str:
        """Make the partitions that are missing, and return the text of an alert, or "" if there is none.

        The alert says that events were in the default partition in this turn and in the one before. If a lock prevents
        a partition, the next attempt is 60 s later.
        """
        state = await partitions.read(self._pool)
        if state.next_missing is not None:
            await self._add_missing()
            state = await partitions.read(self._pool)
        was_outside, self._was_outside = self._was_outside, state.lowest_outside is not None
        if not (was_outside and self._was_outside):
            return ""
        return (
            f"Events of the slots {state.lowest_outside} to {state.highest_outside} are in the default partition of "
            f"chain_events; the chain is at slot {state.tip_slot}. They count as all others. What the chain does not "
            "come near to is removed; the rest is moved as soon as no other session holds the table for long."
        )

    async def _add_missing(self) -> None:
        if time.monotonic() < self._not_before:
            return
        try:
            while added := await partitions.add_missing(self._pool):
                log.info("partition of chain_events made", from_slot=added.start, events_moved=added.moved)
        except Busy as problem:
            self._not_before = time.monotonic() + _RETRY_AFTER_S
            log.warning("no partition of chain_events can be made now", reason=str(problem))
