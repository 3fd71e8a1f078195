"""Run a tick at once when an operator requests one on the dashboard."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from zmart.store.listening import NotificationListener, listening
from zmart.store.market_work import TICK_CHANNEL
from zmart.store.retrying import Outages, StopSignal, retrying

_RECONNECT_S = 2.0


async def tick_on_request(
    database_url: str,
    tick: Callable[[], Awaitable[object]],
    stop: asyncio.Event,
    outages: Outages | None = None,
) -> None:
    """Call `tick` after each request until `stop` is set.

    If no process listens when a request is made, the next scheduled tick does its work.
    """
    outages, work = outages or Outages(), "Listening for requests of operators"

    async def until_broken() -> float:
        async with listening(database_url, TICK_CHANNEL) as listener:
            outages.end(work)
            listener.clear()  # the notification that it listens now is no request
            while await _requested(listener, stop):
                listener.clear()
                await tick()
        return 0.0

    await retrying(until_broken, StopSignal(stop), work, outages, retry_s=_RECONNECT_S)


async def _requested(listener: NotificationListener, stop: asyncio.Event) -> bool:
    """Wait for a notification and return True; return False when the service stops."""
    waiting = {asyncio.create_task(listener.notified.wait()), asyncio.create_task(stop.wait())}
    try:
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in waiting:
            task.cancel()
    return not stop.is_set()
