"""Query a server for what /ready shows, without making the caller of /ready wait for a server that hangs."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from zmart.errors import Unavailable

Answer = TypeVar("Answer")
WITHIN_S = 0.8
"""How long a caller waits for the present answer: two servers that are queried at once answer within a second."""
SILENT_S = 3.0
POSTGRESQL_SILENT = "PostgreSQL does not answer."


class KnownAnswer(Generic[Answer]):
    """The answer of a server to `query`. A caller gets the present one, or the last one known if it takes too long.

    Callers share one query. A server that has not answered for `silent_s` seconds is `silent`, a sentence that
    names it; the query is then given up, and the next caller starts another.
    """

    def __init__(
        self,
        query: Callable[[], Awaitable[Answer]],
        silent: str,
        within_s: float = WITHIN_S,
        silent_s: float = SILENT_S,
    ) -> None:
        self._query = query
        self._within_s = within_s
        self._silent_s = silent_s
        self._silence = Unavailable(silent)
        self._known: Callable[[], Answer] = self._raising(self._silence)
        self._running: asyncio.Task[None] | None = None
        self._began_s = 0.0

    async def get(self) -> Answer:
        """Return the answer within `within_s` seconds. Raises as `query`, and Unavailable for a silent server."""
        if self._running is None or self._running.done():
            self._began_s = time.monotonic()
            self._running = asyncio.create_task(self._learn())
        await asyncio.wait({self._running}, timeout=self._within_s)
        if not self._running.done() and time.monotonic() - self._began_s > self._silent_s:
            raise self._silence  # to give up a query may take long, too
        return self._known()

    def close(self) -> None:
        """Give up the present query."""
        if self._running is not None:
            self._running.cancel()

    async def _learn(self) -> None:
        try:
            async with asyncio.timeout(self._silent_s):
                answer = await self._query()
        except TimeoutError:
            self._known = self._raising(self._silence)
        except Exception as problem:  # a bug, too, is raised where the answer is used
            self._known = self._raising(problem)
        else:
            self._known = lambda: answer

    @staticmethod
    def _raising(problem: Exception) -> Callable[[], Answer]:
        def known() -> Answer:
            raise problem.with_traceback(None)

        return known
