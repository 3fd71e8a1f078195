"""Judge the voters of open votes beside the aggregator's ticks, so that no judgement holds up a decision for long."""

from __future__ import annotations

import asyncio

from zmart.feed.tasks import end, retrieve
from zmart.votes.eligibility import Voters

WITHIN_S = 5.0
"""How many seconds a tick waits for the judgements that it began; usually they need a fraction of a second."""


class OpenVotesJudge:
    """Run `Voters.judge_open` in a task of its own, one at a time."""

    def __init__(self, voters: Voters, within_s: float = WITHIN_S) -> None:
        self._voters = voters
        self._within_s = within_s
        self._running: asyncio.Task[None] | None = None

    async def start_and_wait(self) -> None:
        """Begin to judge the voters of all open votes, and wait at most `within_s` seconds until they are judged.

        Return at once while judgements that an earlier call began are not ended. Raises StoreError.
        """
        if self._running is not None and not self._running.done():
            await self._voters.fix_open()
            return
        self._running = asyncio.create_task(self._voters.judge_open())
        self._running.add_done_callback(retrieve)
        await asyncio.wait({self._running}, timeout=self._within_s)
        if self._running.done():
            self._running.result()

    async def finish(self) -> None:
        """Wait until the judgements that were begun have ended."""
        if self._running is not None:
            await asyncio.wait({self._running})

    async def aclose(self) -> None:
        """End the judgements that were begun."""
        if self._running is not None:
            await end([self._running])
