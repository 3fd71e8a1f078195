"""Fold a backlog in a process of its own and measure the cost; fold several histories by turns and compare them."""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TypeVar

import msgspec
import psutil
import structlog

from zmart.chain.program import Program
from zmart.chain.rpc import Rpc
from zmart.ops.host import leave_to_rest
from zmart.services.indexer.projector import Projector
from zmart.services.indexer.worker import BatchOutcome, Worker
from zmart.settings import Settings
from zmart.store.pool import Pool

T = TypeVar("T")
_STRETCH = 10_000


class Used(msgspec.Struct):
    """The cost of folding `events` events: elapsed seconds, and the processor time of Python and of PostgreSQL."""

    events: int = 0
    seconds: float = 0.0
    python_s: float = 0.0
    postgres_s: float = 0.0

    def add(self, other: Used) -> None:
        for name in self.__struct_fields__:
            setattr(self, name, getattr(self, name) + getattr(other, name))

    @property
    def event_s(self) -> float:
        return self.seconds / self.events

    @property
    def event_processor_s(self) -> float:
        return (self.python_s + self.postgres_s) / self.events


class Drained(msgspec.Struct):
    """The cost of folding a whole backlog, and the peak memory of the process in MiB."""

    used: Used
    peak_mb: float


class History(msgspec.Struct):
    """A backlog in a PostgreSQL of its own; its first `before` events are folded before the comparison begins."""

    url: str
    postgres_pid: int
    before: int


class Compared(msgspec.Struct):
    """The cost of equally many events after few and after many others, and the peak memory in MiB.

    Both were folded in short stretches by turns, so that other work of the machine slows both alike.
    """

    few: Used
    many: Used
    peak_mb: float


def drain(url: str, postgres_pid: int) -> Drained:
    """Fold everything in the inbox of the database at `url`."""
    return _in_a_process(partial(_drain, url, postgres_pid), Drained)


def compare(few: History, many: History, window: int) -> Compared:
    """Fold the first events of both histories, then `window` events of each by turns; return the cost of the latter."""
    return _in_a_process(partial(_compare, few, many, window), Compared)


def by_turns(histories: list[History], window: int) -> list[Used]:
    """Fold the first events of all histories, then `window` events of each by turns; return the cost of the latter."""
    return _in_a_process(partial(_by_turns, histories, window), list)


def _in_a_process(work: Callable[[], Coroutine[None, None, T]], kind: type[T]) -> T:
    context = get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_run, args=(work, there))
    process.start()
    result = here.recv()
    process.join()
    assert isinstance(result, kind)
    return result


def _run(work: Callable[[], Coroutine[None, None, object]], pipe: Connection) -> None:
    import uvloop

    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    pipe.send(uvloop.run(work()))


class _Folding:
    """A worker of the indexer on a database, and its meters of time and events."""

    def __init__(self, pool: Pool, postgres: psutil.Process) -> None:
        settings = Settings(_env_file=None)
        program = Program.from_settings(settings)
        projector = Projector(program, settings.pricing_model)
        unreachable = Rpc(["http://127.0.0.1:9"])
        self._worker = Worker(pool, unreachable, program, projector, settings.indexer_batch_size)
        self._postgres = postgres

    async def fold(self, most: int | None = None) -> Used:
        """Fold at least `most` more events, or all that there are; return the cost."""
        before = self._meters()
        end = before.events + most if most else None
        while (
            end is None or self._worker.events_total < end
        ) and await self._worker.turn() is BatchOutcome.WORKED:
            pass
        after = self._meters()
        return Used(*(getattr(after, name) - getattr(before, name) for name in Used.__struct_fields__))

    def _meters(self) -> Used:
        return Used(
            self._worker.events_total, time.perf_counter(), time.process_time(), _used_s(self._postgres)
        )


@asynccontextmanager
async def _folding(url: str, postgres_pid: int) -> AsyncIterator[_Folding]:
    pool = await Pool.open(url, size=4)
    try:
        yield _Folding(pool, psutil.Process(postgres_pid))
    finally:
        await pool.close()


async def _drain(url: str, postgres_pid: int) -> Drained:
    async with _folding(url, postgres_pid) as folding:
        leave_to_rest()
        return Drained(await folding.fold(), _peak_mb())


async def _compare(few: History, many: History, window: int) -> Compared:
    async with _folding(few.url, few.postgres_pid) as first, _folding(many.url, many.postgres_pid) as second:
        leave_to_rest()
        await first.fold(few.before)
        await second.fold(many.before)
        after_few, after_many = Used(), Used()
        stretch = min(_STRETCH, window // 2)
        for _ in range(window // (2 * stretch)):
            for folding, total in (
                (first, after_few), (second, after_many), (second, after_many), (first, after_few)
            ):  # fmt: skip
                total.add(await folding.fold(stretch))
        return Compared(after_few, after_many, _peak_mb())


async def _by_turns(histories: list[History], window: int) -> list[Used]:
    async with AsyncExitStack() as stack:
        foldings = [await stack.enter_async_context(_folding(h.url, h.postgres_pid)) for h in histories]
        leave_to_rest()
        for folding, history in zip(foldings, histories, strict=True):
            await folding.fold(history.before)
        totals = [Used() for _ in histories]
        turns = list(zip(foldings, totals, strict=True))
        stretch = min(_STRETCH, window) // 4
        for _ in range(window // stretch):
            for folding, total in turns:
                total.add(await folding.fold(stretch))
            turns.append(turns.pop(0))  # the next stretch begins with another history
        return totals


def _peak_mb() -> float:
    """Return the peak memory of this process in MiB; getrusage would return its parent's if that was larger."""
    [line] = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) / 1024


def _used_s(server: psutil.Process) -> float:
    """Return the processor seconds of a server, its children and its ended children."""
    total = 0.0
    for process in (server, *server.children(recursive=True)):
        with suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            total += times.user + times.system + times.children_user + times.children_system
    return total
