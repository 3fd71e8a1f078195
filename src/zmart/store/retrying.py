"""Run a loop of a service through outages of a server, while that is unavailable, busy or read-only."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Protocol

import structlog

from zmart.errors import RolledBack, StoreError, ZmartError

RETRY_S = 1.0
_ROLLED_BACK_S = 0.05
REPORTED_AFTER_S = 1.0
log = structlog.get_logger()


class WakeSource(Protocol):
    """A signal that ends a pause early, when there is work or when the service stops."""

    @property
    def stopped(self) -> bool:
        """Whether the service is stopping."""
        ...

    def clear(self) -> None:
        """Discard the wake-ups so far."""
        ...

    async def wait(self, seconds: float) -> None:
        """Wait until the next wake-up, at most `seconds`."""
        ...


class StopSignal:
    """A wake source whose only wake-up is the event `stop`."""

    def __init__(self, stop: asyncio.Event) -> None:
        self._stop = stop

    @property
    def stopped(self) -> bool:
        """Whether `stop` is set."""
        return self._stop.is_set()

    def clear(self) -> None:
        """Do nothing: this wake source has no wake-ups that could be discarded."""

    async def wait(self, seconds: float) -> None:
        """Wait for `seconds`, or until `stop` is set."""
        await pause(self._stop, seconds)


class Outages:
    """Record which loops of a service wait for a server, and why, for `/ready`. The beginning and the end of an outage
    are logged. A loop is named by its `work`."""

    def __init__(self, reported_after_s: float = REPORTED_AFTER_S) -> None:
        self._reported_after_s = reported_after_s
        self._waits: dict[str, tuple[float, str]] = {}
        self._recovered = asyncio.Event()

    @property
    def reason(self) -> str:
        """The outage that has lasted longest, as one sentence. It is empty when none has lasted for
        `reported_after_s` seconds."""
        waits = [(since, work) for work, (since, _) in self._waits.items()]
        if not waits or time.monotonic() - min(waits)[0] < self._reported_after_s:
            return ""
        work = min(waits)[1]
        return f"{work} waits: {self._waits[work][1]}"

    def begin(self, work: str, reason: str) -> None:
        """Record that the loop `work` waits, and why. A further call keeps the time at which the outage began."""
        since, known = self._waits.get(work, (time.monotonic(), ""))
        if reason != known:
            log.warning(f"{work} waits", reason=reason)
        self._waits[work] = since, reason

    def end(self, work: str) -> None:
        """Record that the loop `work` succeeded, and wake the loops that wait: the server may serve them again, too."""
        if self._waits.pop(work, None) is not None:
            log.info(f"{work} continues")
            self._recovered.set()
            self._recovered = asyncio.Event()

    def forget(self, work: str) -> None:
        """Delete the outage of the loop `work` without a log entry, because another process does this work now."""
        self._waits.pop(work, None)

    async def pause(self, wake: WakeSource, seconds: float) -> None:
        """Wait for a wake-up, at most `seconds`, or until another loop with an outage succeeds."""
        waits = {asyncio.ensure_future(wake.wait(seconds)), asyncio.ensure_future(self._recovered.wait())}
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()


async def retrying(
    turn: Callable[[], Awaitable[float]],
    wake: WakeSource,
    work: str,
    outages: Outages | None = None,
    *,
    errors: tuple[type[ZmartError], ...] = (StoreError,),
    retry_s: float = RETRY_S,
) -> None:
    """Call `turn` repeatedly until `wake` is stopped.

    `turn` returns the pause before its next call in seconds; a wake-up ends the pause early. When `turn` raises one of
    `errors`, `outages` records that `work` waits, and `turn` is called again after `retry_s` seconds, a wake-up, or as
    soon as another loop with the same `outages` succeeds. After RolledBack it is called again within 0.05 seconds. Any
    other exception is a bug and is raised. A `turn` that runs without end calls `outages.end(work)` itself once it has
    succeeded.
    """
    outages = outages or Outages()
    while not wake.stopped:
        wake.clear()
        try:
            pause_s = await turn()
        except RolledBack:
            await wake.wait(_ROLLED_BACK_S)
            continue
        except errors as problem:
            outages.begin(work, str(problem))
            await outages.pause(wake, retry_s)
            continue
        outages.end(work)
        if pause_s > 0:
            await wake.wait(pause_s)


async def pause(stop: asyncio.Event, seconds: float) -> None:
    """Wait for `seconds`, or until `stop` is set."""
    try:
        await asyncio.wait_for(stop.wait(), seconds)
    except TimeoutError:
        return
