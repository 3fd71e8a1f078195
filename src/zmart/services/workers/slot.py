"""Tell a process which worker of its service it is, by an environment variable."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

import msgspec

_NAME = "ZMART_WORKER"


class WorkerSlot(msgspec.Struct, frozen=True):
    """The place of a worker: it is number `number`, from 1, of `workers` processes that share `folder`."""

    number: int
    workers: int
    folder: Path

    def environment(self) -> dict[str, str]:
        """Return the environment variable that gives this slot to a process."""
        return {_NAME: f"{self.number}/{self.workers}:{self.folder}"}


@cache
def worker_slot() -> WorkerSlot | None:
    """Return the slot of this process; None if it is the only process of its service."""
    numbers, _, folder = os.environ.get(_NAME, "").partition(":")
    number, _, workers = numbers.partition("/")
    return WorkerSlot(int(number), int(workers), Path(folder)) if folder else None
