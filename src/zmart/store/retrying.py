"""Run a loop of a service through what a server does for a while: unavailable, busy, read-only."""

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
    """What ends a pause early: news, or the end of the service."""

    @property
    def stopped(self) -> bool: ...

    def clear(self) -> None: ...

    async def wait(self, seconds: float) -> None: ...


class StopSignal:
    """A wake source without news: only `stop` ends a pause."""

    def __init__(self, stop: asyncio.Event) -> None:
        self._stop = stop

    @property
    def stopped(self) -> bool:
        return self._stop.is_set()

    def clear(self) -> None:
        """There is no news to forget."""

    async def wait(self, seconds: float) -> None:
        await pause(self._stop, seconds)


class Outages:
    """Which loops of a service wait for a server, and why: `/ready` shows it, the log has its beginning and its end."""

    def __init__(self, reported_after_s: float = REPORTED_AFTER_S) -> None:
        self._reported_after_s = reported_after_s
        self._waits: dict[str, tuple[float, str]] = {}

    @property
    def reason(self) -> str:
        """The longest wait in a sentence; empty when nothing has waited for `reported_after_s`."""
        waits = [(since, work) for work, (since, _) in self._waits.items()]
        if not waits or time.monotonic() - min(waits)[0] < self._reported_after_s:
            return ""
        work = min(waits)[1]
        return f"{work} waits: {self._waits[work][1]}"

    def begin(self, work: str, reason: str) -> None:
        """Note that `work` waits; harmless again and again."""
        since, known = self._waits.get(work, (time.monotonic(), ""))
        if reason != known:
            log.warning(f"{work} waits", reason=reason)
        self._waits[work] = since, reason

    def end(self, work: str) -> None:
        """Note that `work` succeeded."""
        if self._waits.pop(work, None) is not None:
            log.info(f"{work} continues")


async def retrying(
    turn: Callable[[], Awaitable[float]],
    wake: WakeSource,
    work: str,
    outages: Outages | None = None,
    *,
    errors: tuple[type[ZmartError], ...] = (StoreError,),
    retry_s: float = RETRY_S,
) -> None:
    """Call `turn` again and again until `wake` has stopped. It returns for how many seconds nothing is to be done
    unless something wakes (0: the next turn follows at once). After one of `errors` it is called again `retry_s`
    later, and `outages` says meanwhile that `work` waits. Any other exception is a bug, and raised.

    A turn that does not return while all is well calls `outages.end(work)` itself once it has succeeded.
    """
    outages = outages or Outages()
    while not wake.stopped:
        wake.clear()
        try:
            pause_s = await turn()
        except RolledBack:
            pause_s = _ROLLED_BACK_S
        except errors as problem:
            outages.begin(work, str(problem))
            pause_s = retry_s
        else:
            outages.end(work)
        if pause_s > 0:
            await wake.wait(pause_s)


async def pause(stop: asyncio.Event, seconds: float) -> None:
    """Wait so long, or until `stop` is set."""
    try:
        await asyncio.wait_for(stop.wait(), seconds)
    except TimeoutError:
        return
