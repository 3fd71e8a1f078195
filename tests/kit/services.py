"""Run a service in the test's own event loop, as its host would run it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Protocol, TypeVar

_ENDS_WITHIN_S = 15


class Runnable(Protocol):
    """A service that runs until the event `stop` is set."""

    async def run(self, stop: asyncio.Event) -> None: ...


Running = TypeVar("Running", bound=Runnable)


@asynccontextmanager
async def running_service(service: Running) -> AsyncIterator[Running]:
    """Run a service within the block; TimeoutError when it does not end within 15 s after that."""
    stop = asyncio.Event()
    task = asyncio.create_task(service.run(stop))
    try:
        yield service
    finally:
        stop.set()
        await asyncio.wait_for(task, _ENDS_WITHIN_S)
