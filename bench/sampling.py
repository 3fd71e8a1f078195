"""Check answers of a server under load.

A separate client sends some of the planned requests and compares the answers' rows with the database before and after.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from random import Random

import asyncpg
import httpx
import right_rows
from comparison import BARE
from header_sets import HeaderSet
from request_plan import PlannedRequest
from subjects import Subject

from zmart.errors import ZmartError

INTERVAL_S = 0.1
"""Seconds between two samples, so that they add no noticeable load."""


class Sampler:
    """A client beside the load; `may_be_stale`: the subject may answer from its cache although rows have changed."""

    def __init__(
        self,
        connection: asyncpg.Connection,
        subject: Subject,
        header_sets: Sequence[HeaderSet],
        *,
        may_be_stale: bool,
    ) -> None:
        self.checked = 0
        self._connection = connection
        self._subject = subject
        self._header_sets = header_sets
        self._may_be_stale = may_be_stale

    async def run(self, plan: Sequence[PlannedRequest], random: Random, until: asyncio.Event) -> None:
        """Check answers until the event is set, at least one. Raises ZmartError at the first wrong answer."""
        async with httpx.AsyncClient(timeout=30, trust_env=False) as client:
            while True:
                await self._check(client, random.choice(plan))
                if await _happens(until, INTERVAL_S):
                    return

    async def _check(self, client: httpx.AsyncClient, planned: PlannedRequest) -> None:
        before = await right_rows.in_database(self._connection, planned.path)
        headers = dict(self._header_sets[planned.header_set])
        answer = await client.get(self._subject.url(planned.path), headers=headers)
        after = await right_rows.in_database(self._connection, planned.path)
        wrong = self._problem(answer, None if self._may_be_stale else before, after)
        if wrong is not None:
            raise ZmartError(f"{self._subject.name} answered {planned.path} wrongly: {wrong}")
        self.checked += 1

    def _problem(
        self, answer: httpx.Response, before: right_rows.Rows | None, after: right_rows.Rows
    ) -> str | None:
        if not answer.is_success:
            return f"status {answer.status_code}"
        try:
            answered = right_rows.in_answer(answer.content)
        except (ValueError, KeyError, TypeError) as problem:
            return f"not the JSON of such an answer: {problem!r}"
        if self._subject.name == BARE:  # one fixed body for all paths of a kind
            return None
        return right_rows.problem(answered, before, after)


async def _happens(event: asyncio.Event, within_s: float) -> bool:
    try:
        await asyncio.wait_for(event.wait(), within_s)
    except TimeoutError:
        return False
    return True
