"""A request waits for the change feed's position for a bounded time."""

from __future__ import annotations

import asyncio
import time

import pytest

from zmart.errors import Unavailable
from zmart.services.gateway.http.feed_position import FeedPositionReader
from zmart.store import change_feed


async def test_who_comes_while_a_query_fails_slowly_waits_no_longer_than_who_began_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """C8: a request that joins a query which fails late waits no longer in all than its own time limit."""
    queries = 0

    async def position(_: object) -> None:
        nonlocal queries
        queries += 1
        if queries == 1:
            await asyncio.sleep(1.3)  # the first query fails late
            raise Unavailable("PostgreSQL ended the connection.")
        await asyncio.Event().wait()

    monkeypatch.setattr(change_feed, "position", position)
    reader = FeedPositionReader(None)  # type: ignore[arg-type]  # its one use is replaced
    first = asyncio.create_task(reader.position())
    await asyncio.sleep(0)
    began_s = time.monotonic()
    await asyncio.sleep(0)
    with pytest.raises(TimeoutError):
        await reader.position()
    assert (queries, time.monotonic() - began_s < 2.5) == (2, True)
    with pytest.raises(Unavailable):
        await first
