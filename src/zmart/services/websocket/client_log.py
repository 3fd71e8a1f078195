"""Log how many clients connect, disconnect and resume, in at most one line a second."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable

import structlog

LINE_EVERY_S = 1.0

log = structlog.get_logger()


class ClientLog:
    """Count the events of clients and log the counts.

    `open_connections` returns the number of open connections, which each line also reports.
    """

    def __init__(self, open_connections: Callable[[], int]) -> None:
        self._open_connections = open_connections
        self._counts: Counter[str] = Counter()

    def note(self, what: str) -> None:
        """Count "connected", "disconnected", or the outcome of a subscription with an offset: "replayed" or "gap"."""
        self._counts[what] += 1

    def write(self) -> None:
        """Log the counts since the last line, if any event was counted."""
        counts, self._counts = self._counts, Counter()
        if counts:
            log.info("clients", **counts, open=self._open_connections())

    async def run(self) -> None:
        """Log the counts every LINE_EVERY_S seconds until cancelled, and once more at the end."""
        try:
            while True:
                await asyncio.sleep(LINE_EVERY_S)
                self.write()
        finally:
            self.write()
