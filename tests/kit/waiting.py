"""Wait for conditions that other tasks, threads and processes fulfil, instead of sleeping for a fixed time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from inspect import isawaitable
from typing import TypeVar, cast

from zmart.errors import ChainError

Seen = TypeVar("Seen")


def begin_within_a_window(seconds: float = 10.0, window_s: int = 60) -> None:
    """Wait, if the present minute of the rate limits (or other window) ends within `seconds`, until it has ended.

    At the beginning of the next window a part of the earlier requests counts no more, so that one more is admitted.
    """
    left_s = window_s - time.time() % window_s
    if left_s < seconds:
        time.sleep(left_s + 0.01)


async def until(
    look: Callable[[], Awaitable[Seen]] | Callable[[], Seen],
    wanted: Callable[[Seen], object] = bool,
    *,
    within_s: float = 40.0,
    every_s: float = 0.02,
    why: Callable[[], Awaitable[object]] | None = None,
) -> Seen:
    """Call `look`, and await its result if possible, until `wanted(result)` is true; return that result.

    Raises AssertionError after `within_s` seconds, with the last result and the result of `why`.
    """
    deadline = time.monotonic() + within_s
    while not wanted(seen := await _result(look)):
        if time.monotonic() >= deadline:
            reason = f": {await why()}" if why else ""
            raise AssertionError(f"Still {seen!r} after {within_s} s{reason}")
        await asyncio.sleep(every_s)
    return seen


async def _result(look: Callable[[], Awaitable[Seen]] | Callable[[], Seen]) -> Seen:
    result = look()
    return await result if isawaitable(result) else cast(Seen, result)


@asynccontextmanager
async def watched(*looks: Callable[[], Awaitable[int]]) -> AsyncIterator[list[list[int]]]:
    """Call each of `looks` without a pause while the block runs; yield the list of results of each.

    A ChainError counts as no result.
    """
    shown: list[list[int]] = [[] for _ in looks]

    async def look(which: int) -> None:
        while True:
            with suppress(ChainError):
                shown[which].append(await looks[which]())

    tasks = [asyncio.create_task(look(which)) for which in range(len(looks))]
    try:
        yield shown
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def wait_for(condition: Callable[[], object], within_s: float = 40.0, *, every_s: float = 0.02) -> None:
    """Block until `condition` is true, for tests without an event loop; AssertionError after `within_s` seconds."""
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, f"Not true within {within_s} s"
        time.sleep(every_s)
