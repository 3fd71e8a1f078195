"""Record this process's figures for the dashboard's charts, with each heartbeat."""

from __future__ import annotations

import time
from collections.abc import Mapping

from zmart.ops.recorded_figures import COUNTS, LEVELS, present
from zmart.store import figure_history
from zmart.store.figure_history import RETENTION_S, FigurePeriod
from zmart.store.pool import Pool


class StepCounter:
    """How much each counter grew within the present step. What grew while nothing could be written belongs to the step
    in which it can be written again, over all that time."""

    def __init__(self, step_s: int) -> None:
        self._step_s = step_s
        self._began_s = -1
        self._since_s = time.monotonic()
        self._before: Mapping[str, float] = {}
        self._written: tuple[float, Mapping[str, float]] = self._since_s, {}

    def period(
        self, now_s: float, moment_s: float, counts: Mapping[str, float], levels: Mapping[str, float]
    ) -> FigurePeriod:
        """Return the present period. `now_s`: Unix time by the database's clock; `moment_s`: our monotonic clock."""
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
        """Note that the period was stored."""
        self._written = moment_s, counts


class FigureRecorder:
    """Write the figures of a process; the one that begins a new step deletes what is old."""

    def __init__(self, service: str, instance: str) -> None:
        self._service = service
        self._instance = instance
        self._counters = [StepCounter(step_s) for step_s in RETENTION_S]
        self._pruned_s = 0

    async def record(self, pool: Pool, now_s: float) -> None:
        """Store the present periods; `now_s` is Unix time by the database's clock. Raises StoreError."""
        moment_s, counts, levels = time.monotonic(), present(COUNTS), present(LEVELS)
        periods = [counter.period(now_s, moment_s, counts, levels) for counter in self._counters]
        await figure_history.write(pool, self._service, self._instance, periods)
        for counter in self._counters:
            counter.written(moment_s, counts)
        if periods[0].began_s != self._pruned_s:
            self._pruned_s = periods[0].began_s
            await figure_history.prune(pool)
