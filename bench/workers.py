"""Measure gateway and socket server with 1, 2 and 4 processes on one port (`--workers`).

The processor time of a request or a message shows how the servers scale: while it stays the same, twice the cores serve
twice as much. The total that a machine serves is limited by its cores, which the load and PostgreSQL use, too.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import asyncpg
import checkout
import database
import feed_database
import header_sets
import market_data
import psutil
import request_plan
import subjects
import websocket_report
import wrk
from feed_servers import bench_process
from gateway import PLANNED_PER_SECOND, paths_of
from report import BenchmarkReport, Progress, run
from rich.console import Console
from rich.table import Table
from subjects import Stores, child, until_answers

from zmart.local.processes import free_port

PROCESSES = (1, 2, 4)
_WARM_S = 2
_CHANGES_PER_S = 40
_SETTINGS = {"ZMART_ENV": "local", "RATE_LIMIT_READS": "1000000000", "WS_MAX_PER_IP": "20000"}


@dataclass(frozen=True)
class WorkersFigures:
    """The figures of one load with that many processes; `per_cpu_s` is requests or messages per processor second."""

    load: str
    processes: int
    per_second: float
    per_cpu_s: float
    p50_ms: float
    p99_ms: float
    memory_mb: float


@dataclass
class WorkersReport(BenchmarkReport):
    """The report with the figures of all loads."""

    figures: list[WorkersFigures] = field(default_factory=list)


class Workers:
    """A service's parent process and its workers, with their processor time and memory in all."""

    def __init__(self, process: subprocess.Popen[bytes], port: int) -> None:
        self.port = port
        self._parent = psutil.Process(process.pid)

    def cpu_s(self) -> float:
        return sum(sum(each.cpu_times()[:2]) for each in self._all())

    def memory_mb(self) -> float:
        return sum(each.memory_info().rss for each in self._all()) / 1e6

    def _all(self) -> list[psutil.Process]:
        return [self._parent, *self._parent.children(recursive=True)]


@contextmanager
def workers(service: str, processes: int, settings: Mapping[str, str], folder: Path) -> Iterator[Workers]:
    """Run a service with that many processes within the block; yield it once it is ready."""
    ours, port = checkout.find(None), free_port()
    named = {"gateway": "API_PORT", "websocket": "WS_PORT"}[service]
    environment = {**ours.environment, **_SETTINGS, **settings, named: str(port)}
    command = ours.command("run", service, "--workers", str(processes))
    log = folder / f"{service}-{processes}.log"
    with child(command, environment, log) as process:
        until_answers(f"http://127.0.0.1:{port}/ready", process, log)
        yield Workers(process, port)


async def requests(
    stores: Stores, folder: Path, market_ids: Sequence[str], seconds: int, progress: Progress
) -> list[WorkersFigures]:
    """Measure requests with each number of processes, first without the response cache, then with it."""
    sets = header_sets.draw(7)
    request_plan.write_header_sets(folder / "header_sets", sets)
    count = PLANNED_PER_SECOND * seconds
    plan = request_plan.draw("workers", request_plan.MIX, paths_of(market_ids), len(sets), count)
    request_plan.write_plan(folder / "plan", plan)
    figures = []
    for cache_bytes, load in ((0, "requests, from the database"), (subjects.CACHE_BYTES, "requests, cached")):
        for processes in PROCESSES:
            progress(f"{load}: {processes} processes")
            figures.append(await _requests(stores, folder, cache_bytes, load, processes, seconds))
    return figures


async def _requests(
    stores: Stores, folder: Path, cache_bytes: int, load: str, processes: int, seconds: int
) -> WorkersFigures:
    settings = {
        "DATABASE_URL": stores.database_url,
        "REDIS_URL": stores.redis_url,
        "ANSWER_CACHE_BYTES": str(cache_bytes),
    }
    with workers("gateway", processes, settings, folder) as served:
        attack = wrk.Attack(f"http://127.0.0.1:{served.port}", "", folder / "plan", folder / "header_sets")
        await wrk.run(attack, _WARM_S)
        before = served.cpu_s()
        done = await wrk.run(attack, seconds)
        spent = served.cpu_s() - before
        memory = served.memory_mb()
    per_cpu_s = done.requests / spent
    return WorkersFigures(load, processes, done.requests_per_s, per_cpu_s, done.p50_ms, done.p99_ms, memory)


async def messages(
    stores: Stores, folder: Path, clients: int, seconds: int, progress: Progress
) -> list[WorkersFigures]:
    """Measure messages of the live feed with each number of processes, from COMMIT to every client."""
    figures = []
    for processes in PROCESSES:
        progress(f"{clients} clients of the live feed: {processes} processes")
        figures.append(await _messages(stores, folder, clients, processes, seconds))
    return figures


async def _messages(
    stores: Stores, folder: Path, clients: int, processes: int, seconds: int
) -> WorkersFigures:
    settings = {
        "DATABASE_URL": stores.database_url,
        "REDIS_URL": stores.redis_url,
        "WS_MAX_CONNECTIONS": "20000",
    }
    with workers("websocket", processes, settings, folder) as served:
        command = bench_process("readers.py", served.port, "/?channels=trades", clients, seconds, 0)
        readers = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
        assert readers.stdout is not None
        assert await readers.stdout.readline() == b"connected\n"
        connection = await asyncpg.connect(stores.database_url)
        writer = feed_database.TradeWriter(connection)
        writing = asyncio.create_task(writer.run(_CHANGES_PER_S))
        await readers.stdout.readline()
        before = served.cpu_s()
        await readers.stdout.readline()
        spent, memory = served.cpu_s() - before, served.memory_mb()
        writer.stop()
        await writing
        read = json.loads(await readers.stdout.readline())
        await readers.wait()
        await connection.close()
    assert read["lost"] == 0
    load = f"messages, {clients:,} clients, {_CHANGES_PER_S} changes/s"
    per_cpu_s = read["delivered"] / spent
    return WorkersFigures(
        load, processes, read["per_second"], per_cpu_s, read["p50_ms"], read["p99_ms"], memory
    )


def measure(progress: Progress, *, quick: bool) -> WorkersReport:
    """Measure gateway and socket server on databases of their own; return the report.

    Raises ZmartError with one sentence when a program is missing.
    """
    wrk.find()
    seconds, crowds = (4, (200,)) if quick else (10, (1_000, 4_000))
    report = WorkersReport()
    with tempfile.TemporaryDirectory(prefix="zmart-bench-") as name:
        folder = Path(name)
        with database.servers(folder, "max_connections = 300") as (postgres, valkey):
            read, fed = postgres.create_database("read"), postgres.create_database("fed")
            for url in (read, fed):
                checkout.find(None).migrate(url)
            market_ids = asyncio.run(market_data.fill(read, market_data.QUICK, 100))
            stores = Stores(read, valkey.url())
            report.figures += asyncio.run(requests(stores, folder, market_ids, seconds, progress))
            for clients in crowds:
                stores = Stores(fed, valkey.url(1))
                report.figures += asyncio.run(messages(stores, folder, clients, seconds, progress))
    return report


def show(report: WorkersReport) -> None:
    table = Table(title="Processes that share a port")
    for column in ("load", "processes", "a second", "a processor second", "p50", "p99", "memory"):
        table.add_column(column, justify="left" if column == "load" else "right")
    for each in report.figures:
        table.add_row(
            each.load, str(each.processes), f"{each.per_second:,.0f}", f"{each.per_cpu_s:,.0f}",
            f"{each.p50_ms:.1f} ms", f"{each.p99_ms:.1f} ms", f"{each.memory_mb:.0f} MB",
        )  # fmt: skip
    console = Console(width=120)
    console.print(table)
    machine = report.machine
    console.print(
        f"{machine['python']}: {machine['build']}; {machine['cores']} cores, load before {machine['load_before']}"
    )


if __name__ == "__main__":
    given = websocket_report.options()
    run(lambda progress: measure(progress, quick=given.quick), show, as_json=given.json)
