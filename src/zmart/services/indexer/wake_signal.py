"""What wakes a loop: a ring, the end, or a time."""

from __future__ import annotations

import asyncio


class Bell:
    """One loop waits; anybody rings. Rings between `clear` and `wait` are not lost."""

    def __init__(self, stop: asyncio.Event) -> None:
        self._stop = stop
        self._rung = asyncio.Event()

    @property
    def stopped(self) -> bool:
        return self._stop.is_set()

    def ring(self) -> None:
        self._rung.set()

    def clear(self) -> None:
        self._rung.clear()

    async def wait(self, seconds: float | None) -> None:
        """Until a ring or the end, at most so long (None: however long it takes)."""
        waits = [asyncio.ensure_future(self._rung.wait()), asyncio.ensure_future(self._stop.wait())]
        try:
            timeout = None if seconds is None else max(0.0, seconds)
            await asyncio.wait(waits, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
