"""Record this process's metrics in PostgreSQL with each heartbeat, for the charts of the dashboard."""

from __future__ import annotations

import time
from collections.abc import Mapping

from zmart.ops.recorded_figures import COUNTS, LEVELS, present
from zmart.store import figure_history
from zmart.store.figure_history import RETENTION_S, FigurePeriod
from zmart.store.pool import Pool


class StepCounter:
    """Compute how much each counter grew within the present step of `step_s` seconds.

    While PostgreSQL is unavailable nothing is written. The growth of that time is added to the step in which a write
    succeeds again, and that period's `seconds` include the outage.
    """

    def __init__(self, step_s: int) -> None:
        self._step_s = step_s
        self._began_s = -1
        self._since_s = time.monotonic()
        self._before: Mapping[str, float] = {}
        self._written: tuple[float, Mapping[str, float]] = self._since_s, {}

    def period(
        self, now_s: float, moment_s: float, counts: Mapping[str, float], levels: Mapping[str, float]
    ) -> FigurePeriod:
        """Return the present period with the counters' growth since its start.

        `now_s` is Unix time in seconds by the database's clock, `moment_s` is time.monotonic().
        """
        began_s = int(now_s // self._step_s) * self._step_s
        if began_s != self._began_s:
            self._began_s = began_s
            self._since_s, self._before = self._written
        grown = {name: value - self._before.get(name, 0.0) for name, value in counts.items()}
        seconds = max(moment_s - self._since_s, 0.001)
        return FigurePeriod(
            step_s=self._step_s, began_s=began_s, seconds=seconds, counts=grown, levels=levels
        )

    def written(self, moment_s: float, counts: Mapping[str, float]) -> None:
        """Note that the counters as of `moment_s` (time.monotonic()) are stored."""
        self._written = moment_s, counts


class FigureRecorder:
    """Write the figures of one process; once a minute also delete all rows that are older than their retention."""

    def __init__(self, service: str, instance: str) -> None:
        self._service = service
        self._instance = instance
        self._counters = [StepCounter(step_s) for step_s in RETENTION_S]
        self._pruned_s = 0

    async def record(self, pool: Pool, now_s: float) -> None:
        """Store the present minute and quarter of an hour; `now_s` is Unix time in seconds by the database's clock.

        Raises StoreError.
        """
        moment_s, counts, levels = time.monotonic(), present(COUNTS), present(LEVELS)
        periods = [counter.period(now_s, moment_s, counts, levels) for counter in self._counters]
        await figure_history.write(pool, self._service, self._instance, periods)
        for counter in self._counters:
            counter.written(moment_s, counts)
        if periods[0].began_s != self._pruned_s:
            self._pruned_s = periods[0].began_s
            await figure_history.prune(pool)
