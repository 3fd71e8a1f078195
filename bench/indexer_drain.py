"""Fold a backlog in a process of its own, and note how long each stretch of it took."""

from __future__ import annotations

import resource
import time
from multiprocessing import get_context
from multiprocessing.connection import Connection

import msgspec

from zmart.chain.program import Program
from zmart.chain.rpc import Rpc
from zmart.services.indexer.folding import Folder
from zmart.services.indexer.worker import Turn, Worker
from zmart.settings import Settings
from zmart.store.pool import Pool


class Drained(msgspec.Struct):
    """`marks`: seconds since the start at which so many events were folded."""

    events: int
    seconds: float
    cpu_s: float
    peak_mb: float
    marks: list[tuple[int, float]]

    def cost(self, first: int, last: int) -> float:
        """Seconds per event between two counts."""
        low = next(mark for mark in self.marks if mark[0] >= first)
        high = next(mark for mark in self.marks if mark[0] >= last)
        return (high[1] - low[1]) / max(1, high[0] - low[0])


def drain(url: str) -> Drained:
    """Until the inbox is empty."""
    context = get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_run, args=(url, there))
    process.start()
    found: Drained = here.recv()
    process.join()
    return found


def _run(url: str, pipe: Connection) -> None:
    import uvloop

    pipe.send(uvloop.run(_drain(url)))


async def _drain(url: str) -> Drained:
    settings = Settings(_env_file=None)
    program = Program.from_settings(settings)
    pool = await Pool.open(url, size=4)
    folder = Folder(program, settings.pricing_model)
    worker = Worker(pool, Rpc(["http://127.0.0.1:9"]), program, folder, settings.indexer_batch_size)
    started, cpu = time.perf_counter(), time.process_time()
    marks = [(0, 0.0)]
    while await worker.turn() is Turn.WORKED:
        marks.append((worker.events_total, time.perf_counter() - started))
    seconds, cpu_s = time.perf_counter() - started, time.process_time() - cpu
    await pool.close()
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return Drained(worker.events_total, seconds, cpu_s, peak_mb, marks)
