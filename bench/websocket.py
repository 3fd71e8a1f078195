"""Measure the live feed beside two peers and bare sends in one run, from the COMMIT in PostgreSQL to the client.

The peers are Node's `ws` with changes from LISTEN/NOTIFY, and from logical replication. Each server is one process on a
database of its own in the same PostgreSQL, where the same rows are committed. The cost of a message is the server's
processor time divided by the messages that arrived. Unlike arrival times, it is valid on a busy machine, too.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import feed_database
import websocket_report
from comparison import turns
from feed_servers import BARE, NAMES, FeedServer, FeedServers, bench_process, install_peers
from report import Progress, run
from websocket_report import FeedLoad, FeedReport, IdleMemory, SlowReaders, Storm

from zmart.errors import ZmartError

SLOW_EVERY = 10
_FULL = ((100, 40), (100, 400), (1_000, 40), (1_000, 400), (5_000, 20), (5_000, 40))
_QUICK = ((100, 40), (1_000, 40))
"""The loads of a full and of a quick run: numbers of clients and of changes a second."""
_STORM_CHANGES_PER_S = 20
_DOWN_S = 1.0
_SETTLE_S = 2.0


class FeedBenchmark:
    """All measurements; `quick`: with fewer clients, in shorter runs, once each."""

    def __init__(self, servers: FeedServers, report: FeedReport, progress: Progress, *, quick: bool) -> None:
        self._servers = servers
        self._report = report
        self._progress = progress
        self._seconds = 4 if quick else 8
        self._rounds = 1 if quick else 3
        self._loads = _QUICK if quick else _FULL
        self._crowd = 500 if quick else 5_000
        self._idle = 500 if quick else 2_000
        self._slow = (200, 40) if quick else (1_000, 40)

    async def run(self) -> None:
        for clients, changes_per_s in self._loads:
            await self._compare(clients, changes_per_s)
        for name in NAMES:
            self._progress(f"{self._idle:,} idle connections: {name}")
            self._report.idle.append(await self._idle_memory(name))
            self._progress(f"every {SLOW_EVERY}th client reads nothing: {name}")
            self._report.slow.append(await self._slow_readers(name))
            self._progress(f"a reconnect storm of {self._crowd:,}: {name}")
            self._report.storms.append(await self._storm(name))

    async def _compare(self, clients: int, changes_per_s: int) -> None:
        names = (*NAMES, BARE)
        loads: dict[str, list[FeedLoad]] = {name: [] for name in names}
        for number in range(self._rounds):
            for name in turns(names, number):
                self._progress(f"{clients:,} clients, {changes_per_s} changes/s, round {number + 1}: {name}")
                loads[name].append(await self._load(name, clients, changes_per_s))
        self._report.add(clients, changes_per_s, loads)

    async def _load(self, name: str, clients: int, changes_per_s: int) -> FeedLoad:
        async with self._servers.running(name) as server:
            result, spent_s = await self._read(server, clients, changes_per_s, 0)
            if result["lost"]:
                raise ZmartError(f"{name}: {result['lost']:.0f} clients lost their connection.")
            return FeedLoad(
                result["per_second"],
                result["delivered"] / spent_s,
                result["p50_ms"],
                result["p99_ms"],
                server.memory_bytes() / 1e6,
                result["starved"],
            )

    async def _read(
        self, server: FeedServer, clients: int, changes_per_s: int, slow: int
    ) -> tuple[dict[str, float], float]:
        """Run clients on a server; return their figures and the server's processor seconds during the run."""
        command = bench_process("readers.py", server.port, server.path, clients, self._seconds, slow)
        readers = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
        assert readers.stdout is not None
        if await readers.stdout.readline() != b"connected\n":
            raise ZmartError(f"{server.name}: the clients did not connect; {server.said()}")
        async with _writing(server, changes_per_s):
            await readers.stdout.readline()
            before_s = server.cpu_s()
            await readers.stdout.readline()
            spent_s = server.cpu_s() - before_s
        return _result(await readers.stdout.readline(), server), spent_s

    async def _idle_memory(self, name: str) -> IdleMemory:
        async with self._servers.running(name) as server:
            await asyncio.sleep(_SETTLE_S)
            before = server.memory_bytes()
            async with _crowd(server, self._idle):
                await asyncio.sleep(_SETTLE_S)
                grown = server.memory_bytes() - before
        return IdleMemory(name, grown / self._idle / 1024)

    async def _slow_readers(self, name: str) -> SlowReaders:
        clients, changes_per_s = self._slow
        async with self._servers.running(name) as server:
            before = server.memory_bytes()
            result, _ = await self._read(server, clients, changes_per_s, SLOW_EVERY)
            grown = (server.memory_bytes() - before) / 1e6
        return SlowReaders(name, result["p99_ms"], grown, int(result["lost"]), int(result["starved"]))

    async def _storm(self, name: str) -> Storm:
        async with (
            self._servers.running(name) as server,
            _crowd(server, self._crowd) as crowd,
            _writing(server, _STORM_CHANGES_PER_S),
        ):
            await asyncio.sleep(_SETTLE_S)
            server.kill()
            await asyncio.sleep(_DOWN_S)
            await server.restart()
            assert crowd.stdin is not None
            assert crowd.stdout is not None
            crowd.stdin.write(f"{server.writer.number}\n".encode())
            await crowd.stdin.drain()
            result = _result(await crowd.stdout.readline(), server)
        return Storm(name, **result)


@asynccontextmanager
async def _writing(server: FeedServer, changes_per_s: int) -> AsyncIterator[None]:
    task = asyncio.create_task(server.writer.run(changes_per_s))
    try:
        yield
    finally:
        server.writer.stop()
        await task


@asynccontextmanager
async def _crowd(server: FeedServer, clients: int) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run storm.py with that many connected clients within the block; yield its process."""
    command = bench_process("storm.py", server.port, server.path, clients)
    pipe = subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe)
    assert process.stdout is not None
    try:
        if await process.stdout.readline() != b"connected\n":
            raise ZmartError(f"{server.name}: the clients did not connect; {server.said()}")
        yield process
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def _result(line: bytes, server: FeedServer) -> dict[str, float]:
    if not line:
        raise ZmartError(f"{server.name}: the clients ended without a result; {server.said()}")
    result: dict[str, float] = json.loads(line)
    return result


def measure(progress: Progress, *, quick: bool) -> FeedReport:
    """Run the whole benchmark and return its report. Raises ZmartError with one sentence when a program is missing."""
    install_peers()
    report = FeedReport("The live feed from COMMIT to client, one process each")
    with tempfile.TemporaryDirectory(prefix="zmart-bench-") as name:
        folder = Path(name)
        with feed_database.stores(folder) as stores:
            asyncio.run(_measure(FeedServers(stores, folder), report, progress, quick=quick))
    return report


async def _measure(servers: FeedServers, report: FeedReport, progress: Progress, *, quick: bool) -> None:
    await servers.prepare()
    await FeedBenchmark(servers, report, progress, quick=quick).run()


if __name__ == "__main__":
    options = websocket_report.options()
    run(lambda progress: measure(progress, quick=options.quick), websocket_report.show, as_json=options.json)
