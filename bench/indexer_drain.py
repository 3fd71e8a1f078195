"""Fold a backlog in a process of its own, and note what it took; fold two side by side, and compare."""

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
    """What folding so many events took: time, Python's processor time and PostgreSQL's."""

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
    """A whole backlog, and the most memory that the process held."""

    used: Used
    peak_mb: float


class History(msgspec.Struct):
    """A backlog in a server of its own, and how many of its events lie before what is compared."""

    url: str
    postgres_pid: int
    before: int


class Compared(msgspec.Struct):
    """The same number of events behind few and behind many, in stretches by turns: what else the machine does slows
    both alike."""

    few: Used
    many: Used
    peak_mb: float


def drain(url: str, postgres_pid: int) -> Drained:
    """Until the inbox is empty."""
    return _in_a_process(partial(_drain, url, postgres_pid), Drained)


def compare(few: History, many: History, window: int) -> Compared:
    """Fold what lies before, then so many events of each."""
    return _in_a_process(partial(_compare, few, many, window), Compared)


def by_turns(histories: list[History], window: int) -> list[Used]:
    """Fold what lies before, then so many events of each history, in stretches by turns."""
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
    """A worker on a database, and the meters beside it."""

    def __init__(self, pool: Pool, postgres: psutil.Process) -> None:
        settings = Settings(_env_file=None)
        program = Program.from_settings(settings)
        projector = Projector(program, settings.pricing_model)
        unreachable = Rpc(["http://127.0.0.1:9"])
        self._worker = Worker(pool, unreachable, program, projector, settings.indexer_batch_size)
        self._postgres = postgres

    async def fold(self, most: int | None = None) -> Used:
        """So many events more, or all there are."""
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
            turns.append(turns.pop(0))  # another one begins
        return totals


def _peak_mb() -> float:
    """Of this process alone: getrusage would tell its parent's if that was larger."""
    [line] = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) / 1024


def _used_s(server: psutil.Process) -> float:
    """Processor time of a server, of its children and of those that ended."""
    total = 0.0
    for process in (server, *server.children(recursive=True)):
        with suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            total += times.user + times.system + times.children_user + times.children_system
    return total
