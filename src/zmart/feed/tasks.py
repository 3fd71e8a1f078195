"""End asyncio tasks reliably."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

_RETRY_S = 0.2


async def end(tasks: Iterable[asyncio.Task[None]]) -> None:
    """Cancel tasks and wait until they have ended; their exceptions are not raised here.

    One cancellation is not enough: before Python 3.12 `asyncio.wait_for`, which the database driver uses, loses a
    cancellation that arrives together with the awaited result.
    """
    running = set(tasks)
    while running:
        for task in running:
            task.cancel()
        _, running = await asyncio.wait(running, timeout=_RETRY_S)
