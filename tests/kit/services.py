"""A service that runs in the test's own loop, as its host would run it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Protocol, TypeVar

_ENDS_WITHIN_S = 15


class Runnable(Protocol):
    """What runs until it is told to stop."""

    async def run(self, stop: asyncio.Event) -> None: ...


Running = TypeVar("Running", bound=Runnable)


@asynccontextmanager
async def running_service(service: Running) -> AsyncIterator[Running]:
    """Run it until the block ends; it must then end by itself."""
    stop = asyncio.Event()
    task = asyncio.create_task(service.run(stop))
    try:
        yield service
    finally:
        stop.set()
        await asyncio.wait_for(task, _ENDS_WITHIN_S)
