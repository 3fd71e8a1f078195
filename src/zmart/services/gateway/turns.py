"""What reads wait for together: one look at the feed's head and one count of callers for all that came meanwhile."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping

import msgspec

from zmart.services.gateway.limits import Grant, Limiter, Policy
from zmart.services.gateway.standing import Standings
from zmart.store.change_feed import Standing

_WITHIN_S = 1.5


class Turn(msgspec.Struct, frozen=True):
    """`standing` was looked up after everybody in the turn had asked; `grants` are by caller."""

    standing: Standing
    grants: Mapping[str, Grant]


class Turns:
    """`join(caller)` counts a request; its future brings the turn and the request's place among its caller's."""

    def __init__(self, limiter: Limiter, policy: Policy, standings: Standings) -> None:
        self._limiter = limiter
        self._policy = policy
        self._standings = standings
        self._waiting: list[tuple[str, asyncio.Future[tuple[Turn, int]]]] = []
        self._working: asyncio.Task[None] | None = None

    def join(self, caller: str) -> asyncio.Future[tuple[Turn, int]]:
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[tuple[Turn, int]] = loop.create_future()
        self._waiting.append((caller, answer))
        if self._working is None or self._working.done():
            self._working = loop.create_task(self._work())
        return answer

    async def _work(self) -> None:
        while self._waiting:
            waiting, self._waiting = self._waiting, []
            try:
                async with asyncio.timeout(_WITHIN_S):
                    turn = await self._turn(Counter(caller for caller, _ in waiting))
            except Exception as problem:
                for _, answer in waiting:
                    if not answer.done():
                        answer.set_exception(problem)
                continue
            places: Counter[str] = Counter()
            for caller, answer in waiting:
                if not answer.done():
                    answer.set_result((turn, places[caller]))
                places[caller] += 1

    async def _turn(self, wanted: Mapping[str, int]) -> Turn:
        counting = asyncio.create_task(self._limiter.count(self._policy, wanted))
        try:
            standing = await self._standings.look()
        finally:
            grants = await counting
        return Turn(standing, grants)
