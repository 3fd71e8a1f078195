"""Log how clients come, go and resume: one line a second at most, however many they are."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable

import structlog

LINE_EVERY_S = 1.0

log = structlog.get_logger()


class ClientLog:
    """Count what clients do, and log the counts. `open_connections` returns how many there are now."""

    def __init__(self, open_connections: Callable[[], int]) -> None:
        self._open_connections = open_connections
        self._counts: Counter[str] = Counter()

    def note(self, what: str) -> None:
        """Count "connected", "disconnected", or the outcome of a subscription with an offset: "replayed" or "gap"."""
        self._counts[what] += 1

    def write(self) -> None:
        """Log what was counted since the last line, if anything was."""
        counts, self._counts = self._counts, Counter()
        if counts:
            log.info("clients", **counts, open=self._open_connections())

    async def run(self) -> None:
        """Write lines without end."""
        try:
            while True:
                await asyncio.sleep(LINE_EVERY_S)
                self.write()
        finally:
            self.write()
