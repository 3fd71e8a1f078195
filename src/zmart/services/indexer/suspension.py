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
    """Call `resumed` each time the process runs again after more than `noticed_after_s` seconds of standstill.

    It runs until cancelled and checks every `every_s` seconds. `resumed` ends the pauses of loops, which would
    otherwise delay the work that arrived during the standstill.
    """
    while True:
        began = time.monotonic()
        await asyncio.sleep(every_s)
        stopped_s = time.monotonic() - began - every_s
        if stopped_s > noticed_after_s:
            log.warning("the process did not run for a while", seconds=round(stopped_s, 1))
            resumed()
