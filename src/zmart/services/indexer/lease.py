"""Hold rows of a queue while this process works on them, by a short lease that is renewed until the work is done.

When a process dies or is stopped, its lease ends after at most LEASE_S seconds, and others take its rows.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

from zmart.errors import StoreError
from zmart.store.retrying import pause

LEASE_S = 5.0
RENEW_EVERY_S = 1.5


@asynccontextmanager
async def renewing(renew: Callable[[float], Awaitable[None]]) -> AsyncIterator[None]:
    """Renew a lease while the block runs: call `renew(LEASE_S)` every RENEW_EVERY_S seconds.

    A StoreError of `renew` is ignored. The lease may then end early and another process do the same work, which is
    harmless.
    """
    over = asyncio.Event()
    task = asyncio.create_task(_renew(renew, over))
    try:
        yield
    finally:
        over.set()
        await task


async def _renew(renew: Callable[[float], Awaitable[None]], over: asyncio.Event) -> None:
    while True:
        await pause(over, RENEW_EVERY_S)
        if over.is_set():
            return
        with suppress(StoreError):
            await renew(LEASE_S)
