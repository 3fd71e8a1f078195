"""Ask several endpoints a question that takes several calls, so that one silent endpoint does not delay the answer.

A client of all URLs sends each call to another endpoint once one fails. Some questions may not be answered in that way:
that a node lists no transaction proves nothing about the history that another node keeps. Their answer comes from one
endpoint as a whole.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from zmart.chain.json_rpc import SILENT_S
from zmart.chain.rpc import Rpc
from zmart.errors import ChainError

_Answer = TypeVar("_Answer")
_BESIDE_AFTER_S = SILENT_S + 0.1
"""Seconds without an answer after which the next endpoint is asked, too. It is a little more than the silence that
pauses an endpoint, so that a silent one is asked last from then on."""


async def first_sufficient(
    rpcs: Sequence[Rpc],
    read: Callable[[Rpc], Awaitable[_Answer]],
    suffices: Callable[[_Answer], bool],
    beside_after_s: float = _BESIDE_AFTER_S,
) -> _Answer:
    """Return the first answer that suffices, each read from one endpoint alone.

    The endpoints are asked in their order, those that are paused after a failure last. The next one is asked once an
    answer does not suffice, and beside the others once none has come for `beside_after_s` seconds. Readings that are
    not needed any more are cancelled; a call that was silent for 1 s by then pauses its endpoint (chain/json_rpc.py).

    If no answer suffices, raises the first endpoint's ChainError that occurred, since a later try may succeed; without
    one returns the last endpoint's answer. `rpcs` may not be empty.
    """
    waiting = deque(sorted(rpcs, key=lambda rpc: rpc.is_paused))
    readings: list[asyncio.Task[_Answer]] = []
    try:
        while waiting or not all(task.done() for task in readings):
            if waiting:
                readings.append(asyncio.ensure_future(read(waiting.popleft())))
            running = [task for task in readings if not task.done()]
            await asyncio.wait(
                running, timeout=beside_after_s if waiting else None, return_when=asyncio.FIRST_COMPLETED
            )
            for task in readings:
                if _has_answered(task) and suffices(task.result()):
                    return task.result()
        failed = [task for task in readings if not _has_answered(task)]
        return (failed or readings[-1:])[0].result()
    finally:
        for task in readings:
            task.cancel()
        await asyncio.gather(*readings, return_exceptions=True)


def _has_answered(task: asyncio.Task[_Answer]) -> bool:
    """Return whether a reading has an answer: it has ended without a ChainError. Raises any other error."""
    if not task.done():
        return False
    error = task.exception()
    if error is not None and not isinstance(error, ChainError):
        raise error
    return error is None
