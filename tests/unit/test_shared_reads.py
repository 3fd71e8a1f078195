"""A read shared by several waiters: if all of them leave before it fails, no error is logged."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from types import SimpleNamespace
from typing import Any

import pytest

from zmart.errors import Unavailable
from zmart.feed.channels import Channel, ChannelKind
from zmart.local.providers.pinata.executor import PinExecutor
from zmart.services.gateway.http.cached_value import CachedValue
from zmart.services.gateway.http.response_cache import ResponseCache
from zmart.services.websocket import state
from zmart.services.websocket.state import ChannelStates

THREAD = ThreadPoolExecutor(1)
Begin = Callable[[], Awaitable[object]]
Failing = tuple[Begin, Callable[[], None]]
"""A function that starts a read, and a function that makes the read fail."""


def failing_read() -> tuple[Callable[..., Awaitable[Any]], Callable[[], None]]:
    failed = asyncio.Event()

    async def read(*_: object) -> None:
        await failed.wait()
        raise Unavailable("PostgreSQL did not answer.")

    return read, failed.set


def cached_value(_: pytest.MonkeyPatch) -> Failing:
    read, fail = failing_read()
    return CachedValue(read, 1.0).get, fail


def response_of_the_cache(_: pytest.MonkeyPatch) -> Failing:
    read, fail = failing_read()
    cache = object.__new__(ResponseCache)
    cache._read_within_s = 10.0
    route: Any = SimpleNamespace(
        reading=None,
        reading_at=None,
        cacheable=SimpleNamespace(read=read, max_age_s=1.0),
        amounts_as_text=False,
    )
    return lambda: cache._renewed(route, ("epoch", 1)), fail


def state_of_a_channel(patch: pytest.MonkeyPatch) -> Failing:
    read, fail = failing_read()
    patch.setattr(state, "_load", read)
    states = ChannelStates(None)  # type: ignore[arg-type]  # its one use is replaced
    return lambda: states.state(Channel(ChannelKind.MARKETS), "epoch"), fail


def change_of_a_pin(_: pytest.MonkeyPatch) -> Failing:
    failed = Event()

    def unpin(_: object) -> None:
        failed.wait(10)
        raise OSError("No space left on device")

    executor = object.__new__(PinExecutor)
    executor.store = SimpleNamespace(unpin=unpin)  # type: ignore[assignment]
    executor._thread = THREAD
    return lambda: executor.unpin(None), failed.set  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "reading", [cached_value, response_of_the_cache, state_of_a_channel, change_of_a_pin]
)
async def test_a_read_that_fails_when_all_have_gone_is_nobodys_error(
    reading: Callable[[pytest.MonkeyPatch], Failing], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Clients that disconnect during an outage leave no uncaught exception with its traceback in the log."""
    reported: list[dict[str, Any]] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: reported.append(context))
    begin, fail = reading(monkeypatch)
    waiting = [asyncio.ensure_future(begin()) for _ in range(3)]
    await asyncio.sleep(0)
    for one in waiting:
        one.cancel()
    await asyncio.wait(waiting)
    others = asyncio.all_tasks() - {asyncio.current_task()}
    fail()
    if others:
        await asyncio.wait(others)
    await loop.run_in_executor(THREAD, lambda: None)  # waits until the thread has ended its work
    del one, waiting, others
    await asyncio.sleep(0)
    gc.collect()
    assert reported == []
