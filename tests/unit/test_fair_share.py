"""A13: a client that uses much of a shared resource delays itself more than it delays others."""

from __future__ import annotations

import asyncio
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from zmart.services.websocket.fair_share import FairShare

TOTAL, EACH = 3, 2
STEPS = st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(("ask", "leave", "give up"))), max_size=60)


class Work:
    """A task of a client that waits for a permit and then holds it until `leave` is called."""

    def __init__(self, share: FairShare, client: str, log: list[str]) -> None:
        self.client = client
        self.has_permit = False
        self._leave = asyncio.Event()
        self.task = asyncio.create_task(self._run(share, log))

    async def _run(self, share: FairShare, log: list[str]) -> None:
        async with share.permit(self.client):
            self.has_permit = True
            log.append(self.client)
            await self._leave.wait()

    def leave(self) -> None:
        self._leave.set()


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_clients_that_wait_are_served_in_turn():
    share, log = FairShare(1, 1), []
    works = [Work(share, client, log) for client in "aaaabb"] + [Work(share, "c", log)]
    for _ in works:
        await settle()
        next(
            work for work in works if work.has_permit and not work.task.done() and not work._leave.is_set()
        ).leave()
    await asyncio.gather(*(work.task for work in works))
    assert log == list("aabcaba")


@given(STEPS)
def test_no_permit_is_lost_or_given_twice_whatever_happens(steps):
    async def play() -> None:
        share, works = FairShare(TOTAL, EACH), []
        for client, step in steps:
            mine = [work for work in works if work.client == client and not work.task.done()]
            if step == "ask":
                works.append(Work(share, client, []))
            elif mine and step == "leave":
                mine[0].leave()
            elif mine:
                mine[-1].task.cancel()
            await settle()
            here = [work for work in works if not work.task.done()]
            held = Counter(work.client for work in here if work.has_permit)
            assert held.total() <= TOTAL
            assert all(count <= EACH for count in held.values())
            waiting = {work.client for work in here if not work.has_permit}
            assert held.total() == TOTAL or all(held[client] == EACH for client in waiting)
        for work in works:
            work.task.cancel()
        await asyncio.gather(*(work.task for work in works), return_exceptions=True)
        assert not share._used
        assert not share._waiting

    asyncio.run(play())
