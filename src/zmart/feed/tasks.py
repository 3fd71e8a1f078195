"""End asyncio tasks reliably, and take what they raise."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

_RETRY_S = 0.2


async def end(tasks: Iterable[asyncio.Task[Any]], retry_s: float = _RETRY_S) -> None:
    """Cancel tasks and wait until they have ended; their exceptions are not raised here.

    They are cancelled again every `retry_s`: as long as what they do at their end may take.

    One cancellation is not enough: before Python 3.12 `asyncio.wait_for`, which the clients of PostgreSQL and Redis
    use, loses a cancellation that arrives together with the awaited result.
    """
    running = set(tasks)
    while running:
        for task in running:
            task.cancel()
        _, running = await asyncio.wait(running, timeout=retry_s)


def retrieve(task: asyncio.Future[Any]) -> None:
    """Take the exception of a task that has ended: a callback for one that others await by `asyncio.shield`.

    It is raised for each of them. If all have gone before, asyncio would report it as one that nobody looked at.
    """
    if not task.cancelled():
        task.exception()
