"""End asyncio tasks reliably, and retrieve their exceptions."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

_RETRY_S = 0.2


async def end(tasks: Iterable[asyncio.Task[Any]], retry_s: float = _RETRY_S) -> None:
    """Cancel tasks and wait until they have ended; their exceptions are not raised here.

    Tasks that still run are cancelled again every `retry_s` seconds, which must be enough for their cleanup. One
    cancellation is not enough: before Python 3.12 `asyncio.wait_for`, which the clients of PostgreSQL and Redis use,
    loses a cancellation that arrives together with the awaited result.
    """
    running = set(tasks)
    while running:
        for task in running:
            task.cancel()
        _, running = await asyncio.wait(running, timeout=retry_s)


def retrieve(task: asyncio.Future[Any]) -> None:
    """Retrieve the exception of a task that has ended: a done callback for a task that is awaited by `asyncio.shield`.

    The exception is raised for each awaiter. If all awaiters were cancelled before, asyncio would otherwise log it as
    never retrieved.
    """
    if not task.cancelled():
        task.exception()
