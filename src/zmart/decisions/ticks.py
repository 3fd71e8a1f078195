"""Run the ticks of a service and record their results for /ready and /health; no exception reaches the schedule."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping

import structlog
from prometheus_client import Counter, Histogram

from zmart import traces
from zmart.chain.rpc_errors import TransientRpcError
from zmart.errors import StoreError, ZmartError, reason_of

log = structlog.get_logger()


def is_outage(problem: Exception) -> bool:
    """Return whether an exception reports an unavailable server: then the same work succeeds once it is available."""
    return isinstance(problem, (StoreError, TransientRpcError))


TickCounts = Mapping[str, int]
"""What a tick did, as names and numbers for its log line."""


class TickRecord:
    """Run ticks and record how the last tick ended.

    `error` is why it failed, "" if it succeeded. `was_outage`: it failed because a server was unavailable, and should
    be run again soon. `name` names the ticks in the log.
    """

    def __init__(self, name: str, counter: Counter, seconds: Histogram) -> None:
        self._name = name
        self._counter = counter
        for result in ("ok", "failed"):
            counter.labels(result)  # exported from the start, so that the first failure is an increase
        self._seconds = seconds
        self.error = ""
        self.was_outage = False
        self.last_at_s: float | None = None
        self.runs = 0

    async def run(self, tick: Callable[[], Awaitable[TickCounts | None]]) -> bool:
        """Run a tick and return whether it succeeded; its exception is logged and recorded."""
        started = time.monotonic()
        try:
            with traces.around(traces.ServiceWork.TICK, lambda: {"zmart.tick": self._name}):
                counts = await tick()
            self.error, self.was_outage = "", False
            log.info(
                "tick", tick=self._name, **counts or {}, ms=round((time.monotonic() - started) * 1000, 1)
            )
        except Exception as problem:
            self.was_outage = is_outage(problem)
            self.error = reason_of(problem)
            log.warning(
                "tick failed", tick=self._name, error=self.error, exc_info=not isinstance(problem, ZmartError)
            )
        self.runs += 1
        self.last_at_s = time.time()
        self._counter.labels("failed" if self.error else "ok").inc()
        self._seconds.observe(time.monotonic() - started)
        return not self.error

    @property
    def reason(self) -> str:
        """Return why /ready is 503 after the last tick; "" if it succeeded."""
        return f"The last tick failed: {self.error}" if self.error else ""

    def health(self) -> dict[str, object]:
        """Return the fields of /health about the ticks: status, time of the last, their number, last error."""
        return {
            "status": "degraded" if self.error else "ok",
            "last_tick_at": self.last_at_s,
            "ticks": self.runs,
            "last_error": self.error,
        }
