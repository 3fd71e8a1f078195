"""Hold rows of a queue while this process works on them: the lease is short, and renewed until the work is done.

A process that dies or is stopped returns its rows with the lease, so the others wait no longer than that.
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
    """Call `renew` with LEASE_S now and then within the block. Where it fails the lease may end early, and another
    process does the same work: that is harmless."""
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
