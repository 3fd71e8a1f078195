"""Fold a backlog in a process of its own, and note how long each stretch of it took."""

from __future__ import annotations

import time
from contextlib import suppress
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path

import msgspec
import psutil

from zmart.chain.program import Program
from zmart.chain.rpc import Rpc
from zmart.ops.host import leave_to_rest
from zmart.services.indexer.folding import Folder
from zmart.services.indexer.worker import Turn, Worker
from zmart.settings import Settings
from zmart.store.pool import Pool


class Drained(msgspec.Struct):
    """`marks`: how many events were folded after so many seconds, and after so many of processor time, Python's
    and PostgreSQL's."""

    events: int
    seconds: float
    python_s: float
    postgres_s: float
    peak_mb: float
    marks: list[tuple[int, float, float]]

    def cost_s(self, first: int, last: int) -> tuple[float, float]:
        """Seconds and processor seconds per event between two counts."""
        low = next(mark for mark in self.marks if mark[0] >= first)
        high = next(mark for mark in self.marks if mark[0] >= last)
        events = max(1, high[0] - low[0])
        return (high[1] - low[1]) / events, (high[2] - low[2]) / events


def drain(url: str, postgres_pid: int) -> Drained:
    """Until the inbox is empty."""
    context = get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_run, args=(url, postgres_pid, there))
    process.start()
    found: Drained = here.recv()
    process.join()
    return found


def _run(url: str, postgres_pid: int, pipe: Connection) -> None:
    import uvloop

    pipe.send(uvloop.run(_drain(url, psutil.Process(postgres_pid))))


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


async def _drain(url: str, server: psutil.Process) -> Drained:
    settings = Settings(_env_file=None)
    program = Program.from_settings(settings)
    pool = await Pool.open(url, size=4)
    folder = Folder(program, settings.pricing_model)
    worker = Worker(pool, Rpc(["http://127.0.0.1:9"]), program, folder, settings.indexer_batch_size)
    leave_to_rest()
    started, python, postgres = time.perf_counter(), time.process_time(), _used_s(server)
    marks = [(0, 0.0, 0.0)]
    while await worker.turn() is Turn.WORKED:
        used = time.process_time() - python + _used_s(server) - postgres
        marks.append((worker.events_total, time.perf_counter() - started, used))
    seconds, python_s = time.perf_counter() - started, time.process_time() - python
    postgres_s = _used_s(server) - postgres
    await pool.close()
    return Drained(worker.events_total, seconds, python_s, postgres_s, _peak_mb(), marks)
