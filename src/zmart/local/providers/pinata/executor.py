"""Run changes of the pin store in one thread: they do not overlap, and the event loop does not wait for the disk."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from zmart.feed.tasks import retrieve
from zmart.local.providers.http import HttpRequest
from zmart.local.providers.pinata.forms import FILE_MAX_BYTES, FRAME_MAX_BYTES, UploadForm
from zmart.local.providers.pinata.pins import Label, Pin, PinStore

P = ParamSpec("P")
R = TypeVar("R")


class PinExecutor:
    """Run the changes of the pin store that the two APIs (legacy and v3) request."""

    def __init__(self, store: PinStore) -> None:
        self.store = store
        self.file_max_bytes = FILE_MAX_BYTES
        self.frame_max_bytes = FRAME_MAX_BYTES
        self._thread = ThreadPoolExecutor(1, "pins")

    async def upload(
        self, request: HttpRequest, known: tuple[str, ...], judge: Callable[[UploadForm], tuple[int, Label]]
    ) -> tuple[Pin, bool]:
        """Read the form of an upload and pin its file. Returns the pin, and whether the file was already pinned.

        The form may have the fields in `known`. `judge` returns the CID version and the label for the form. Raises
        HttpRefusal, Disconnected, StoreError.
        """
        with UploadForm(self.store.incoming, known, self.file_max_bytes, self.frame_max_bytes) as form:
            await form.read(request)
            version, label = judge(form)
            return await self._do(self.store.pin, form.file, version, label)

    async def unpin(self, pin: Pin) -> None:
        """Remove a pin. Raises StoreError."""
        await self._do(self.store.unpin, pin)

    async def close(self) -> None:
        """Finish the pending changes and close the store."""
        await self._do(self.store.close)
        self._thread.shutdown()

    async def _do(self, job: Callable[P, R], *arguments: P.args, **options: P.kwargs) -> R:
        # Shielded: a caller that disconnects must not close the file while the thread uses it.
        work = asyncio.get_running_loop().run_in_executor(self._thread, lambda: job(*arguments, **options))
        work.add_done_callback(retrieve)
        return await asyncio.shield(work)
