"""The pin store behind one thread: its work waits for the disk, and two changes at once cannot meet."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from zmart.local.providers.http import Request
from zmart.local.providers.pinata.forms import Form
from zmart.local.providers.pinata.pins import Label, Pin, PinStore

P = ParamSpec("P")
R = TypeVar("R")


class Shelf:
    """What the two APIs do with the store."""

    def __init__(self, store: PinStore) -> None:
        self.store = store
        self._thread = ThreadPoolExecutor(1, "pins")

    async def upload(
        self, request: Request, known: tuple[str, ...], judge: Callable[[Form], tuple[int, Label]]
    ) -> tuple[Pin, bool]:
        """Read the form, let `judge` say the CID version and the label, pin the file."""
        with Form(self.store.incoming, known) as form:
            await form.read(request)
            version, label = judge(form)
            return await self._do(self.store.pin, form.file, version, label)

    async def unpin(self, pin: Pin) -> None:
        await self._do(self.store.unpin, pin)

    async def close(self) -> None:
        await self._do(self.store.close)
        self._thread.shutdown()

    async def _do(self, job: Callable[P, R], *arguments: P.args, **options: P.kwargs) -> R:
        # Shielded: a caller that goes away does not take the file from under the thread.
        work = asyncio.get_running_loop().run_in_executor(self._thread, lambda: job(*arguments, **options))
        return await asyncio.shield(work)
