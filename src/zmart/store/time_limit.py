"""Limit how long a caller waits for PostgreSQL."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from zmart.errors import Unavailable


@asynccontextmanager
async def answer_within(seconds: float) -> AsyncIterator[None]:
    """Cancel the block and raise Unavailable if it takes longer than `seconds`."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        raise Unavailable(f"PostgreSQL did not answer within {seconds:g} s.") from None
