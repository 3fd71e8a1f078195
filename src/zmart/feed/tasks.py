"""Ending tasks for certain."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

_AGAIN_S = 0.2


async def end(tasks: Iterable[asyncio.Task[None]]) -> None:
    """Cancel tasks and wait until they are over; what they raised is theirs.

    Once is not enough: before Python 3.12 `asyncio.wait_for`, which the database driver uses, loses a
    cancellation that arrives in the same moment as the awaited answer.
    """
    left = set(tasks)
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=_AGAIN_S)
