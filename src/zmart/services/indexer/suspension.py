"""Notice that the process was stopped for a while (SIGSTOP, a machine that slept, a paused container)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import structlog

EVERY_S = 0.5
NOTICED_AFTER_S = 2.0
log = structlog.get_logger()


async def watch_suspension(
    resumed: Callable[[], None], every_s: float = EVERY_S, noticed_after_s: float = NOTICED_AFTER_S
) -> None:
    """Call `resumed` after each time in which nothing ran, without end: pauses that had just begun would go on, and
    what came meanwhile would wait for them."""
    while True:
        began = time.monotonic()
        await asyncio.sleep(every_s)
        stopped_s = time.monotonic() - began - every_s
        if stopped_s > noticed_after_s:
            log.warning("the process did not run for a while", seconds=round(stopped_s, 1))
            resumed()
