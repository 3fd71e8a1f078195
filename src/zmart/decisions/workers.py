"""Work on many markets at once, with one task for each market: a slow or failing market delays no other.

Failures are stored, and the work is retried after a pause.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress

import structlog
from prometheus_client import Counter, Gauge

from zmart import traces
from zmart.decisions.ticks import is_outage
from zmart.errors import IndexIncomplete, ZmartError
from zmart.market.types import MarketId
from zmart.store import alerts, decision_alerts, market_work
from zmart.store.alerts import Severity
from zmart.store.market_work import Job
from zmart.store.pool import Pool

failures = Counter(
    "zmart_market_work_failures_total", "Decisions that failed and are tried again", ["decision"]
)
for job in Job:
    failures.labels(job.value)  # exported from the start, so that the first failure is an increase
running = Gauge("zmart_market_work_running", "Markets that are being worked on")

AT_ONCE = 16
"""How many markets are worked on at the same time; the work mostly waits for the chain."""
DRAIN_S = 5.0
"""How many seconds running work has after a stop; work that is cancelled then is resumed by the next process."""
OUTAGE_PAUSE_S = 5.0
"""The longest pause in seconds after a server was unavailable; a longer one would delay work after the outage."""
WAITING_PAUSE_S = 30.0
"""The pause in seconds between two attempts at a market that waits for a person, another service or the index."""
ALERT_AFTER = 5
"""How often in a row work may fail with different errors before an alert is raised; with the same error it is twice."""

log = structlog.get_logger()


class MarketWorkers:
    """Run work on markets: one task at a time for a market, and on at most `limit` markets at once.

    With `held` (HOLD_DECISIONS) `start` does nothing.
    """

    def __init__(self, pool: Pool, limit: int = AT_ONCE, *, held: bool = False) -> None:
        self._pool = pool
        self.held = held
        self._permits = asyncio.Semaphore(limit)
        self._tasks: dict[MarketId, asyncio.Task[None]] = {}
        self._begun: set[MarketId] = set()

    def start(self, market_id: MarketId, job: Job, work: Callable[[], Awaitable[None]]) -> None:
        """Start `work` on a market, unless work on it is running or decisions are held."""
        if self.held or market_id in self._tasks:
            return
        task = asyncio.create_task(self._work(market_id, job, work))
        self._tasks[market_id] = task
        running.set(len(self._tasks))
        task.add_done_callback(lambda _: self._ended(market_id))

    async def report_held(self, service: str) -> None:
        """Raise an alert while this service holds its decisions, and resolve it when it does not."""
        key = f"decisions-held:{service}"
        if not self.held:
            await alerts.resolve_alert(self._pool, key)
            return
        text = (
            f"The {service} holds its decisions, as after a restore: it sends nothing to the chain. Once the restored "
            "votes have been checked, release it: start it without HOLD_DECISIONS, or the stack of `zmart up` with "
            "--release-decisions (docs/operations.md)."
        )
        await alerts.raise_alert(self._pool, key, "warning", text)

    async def drain(self, within_s: float | None = None) -> None:
        """Wait until all work has ended.

        With `within_s`, cancel work that has not begun, wait at most `within_s` seconds for the rest, and cancel that.
        """
        if within_s is not None:
            for market_id, task in self._tasks.items():
                if market_id not in self._begun:
                    task.cancel()
        with suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                while self._tasks:
                    await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        self.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    def cancel(self) -> None:
        """Cancel all work at once. Nothing is lost, as after a crash: the work continues from what is stored."""
        for task in self._tasks.values():
            task.cancel()

    def _ended(self, market_id: MarketId) -> None:
        del self._tasks[market_id]
        self._begun.discard(market_id)
        running.set(len(self._tasks))

    async def _work(self, market_id: MarketId, job: Job, work: Callable[[], Awaitable[None]]) -> None:
        async with self._permits:
            self._begun.add(market_id)
            try:
                await run_job(self._pool, market_id, job, work)
            except Exception as problem:  # PostgreSQL is unavailable, so that the failure cannot be stored
                log.warning(
                    "work on a market was lost", market=market_id, job=job.value, problem=str(problem)
                )


async def run_job(pool: Pool, market_id: MarketId, job: Job, work: Callable[[], Awaitable[None]]) -> bool:
    """Run work on a market and return whether it succeeded.

    A failure is stored, and the work pauses, longer after each failure. An alert is raised when the same error repeats,
    or at the ALERT_AFTER-th failure in a row whatever the errors are: some differ each time, as those of a node that
    says how far it is behind. Work that waits for the index (IndexIncomplete) has not failed: it resumes as soon as the
    index is complete enough. Raises StoreError if the result cannot be stored.
    """
    started = time.monotonic()
    try:
        with traces.around(
            traces.ServiceWork.DECISION, lambda: {"zmart.job": job.value, "zmart.market": market_id}
        ):
            await work()
    except IndexIncomplete as incomplete:
        log.info("decision waits for the index", market=market_id, job=job.value, reason=str(incomplete))
        await market_work.wait_for_index(
            pool,
            market_id,
            job,
            str(incomplete),
            incomplete.needs_slot,
            incomplete.needs_time,
            WAITING_PAUSE_S,
        )
        return False
    except Exception as problem:
        unforeseen = not isinstance(problem, ZmartError)
        log.warning(
            "decision failed", market=market_id, job=job.value, error=str(problem), exc_info=unforeseen
        )
        failures.labels(job.value).inc()
        error = f"{type(problem).__name__}: {problem}"
        longest_s = OUTAGE_PAUSE_S if is_outage(problem) else market_work.LONGEST_PAUSE_S
        failure = await market_work.failed(pool, market_id, job, error, longest_s)
        if failure.same_error or failure.attempts >= ALERT_AFTER:
            text = f"The {job.value} of market {market_id} failed {failure.attempts} times in a row: {error}"
            await alerts.raise_alert(pool, _key("failing", job, market_id), "critical", text)
        return False
    ms = round((time.monotonic() - started) * 1000, 1)
    log.info("decision ended", market=market_id, job=job.value, ms=ms)
    await alerts.resolve_alert(pool, _key("failing", job, market_id))
    return True


async def report_waiting(
    pool: Pool, market_id: MarketId, job: Job, status: str, severity: Severity, message: str
) -> None:
    """Store `status` and raise an alert: the job cannot continue until a person or another service acts."""
    await market_work.note(pool, market_id, job, status, WAITING_PAUSE_S)
    await alerts.raise_alert(pool, _key("waiting", job, market_id), severity, message)


async def clear_finished(pool: Pool) -> None:
    """Delete the stored jobs of markets whose state has changed since, and resolve the alerts that no longer apply.

    It does not matter which process changed the state.
    """
    await market_work.forget_finished(pool)
    await decision_alerts.resolve_outdated(pool)


def _key(topic: str, job: Job, market_id: MarketId) -> str:
    return f"{topic}:{job.value}:{market_id}"
