"""Let a loop wait for a signal, for the end of the service, or for a time."""

from __future__ import annotations

import asyncio

LONGEST_PAUSE_S = 3.0
"""How long, in seconds, a loop over the inbox waits for a wake. A process may have stored a row and ended before it
sent one."""


class WakeSignal:
    """A signal for which one loop waits and that any task sends. A wake between `clear` and `wait` is not lost."""

    def __init__(self, stop: asyncio.Event) -> None:
        self._stop = stop
        self._woken = asyncio.Event()

    @property
    def stopped(self) -> bool:
        """Whether the service has been told to stop."""
        return self._stop.is_set()

    def wake(self) -> None:
        """Wake the loop that waits."""
        self._woken.set()

    def clear(self) -> None:
        """Discard earlier wake-ups."""
        self._woken.clear()

    async def wait(self, seconds: float | None) -> None:
        """Wait for a wake, for the end of the service, or for `seconds` (None: no limit), whichever is first."""
        waits = [asyncio.ensure_future(self._woken.wait()), asyncio.ensure_future(self._stop.wait())]
        try:
            timeout = None if seconds is None else max(0.0, seconds)
            await asyncio.wait(waits, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
