"""The compared servers of the live feed, one process each: ours, Node's `ws` with two other sources of changes, and
bare sends."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import checkout
import feed_database
import machine
import peers
import psutil
from subjects import Stores

from zmart.local.processes import free_port, wait_until

OURS, NOTIFY, REPLICATION, BARE = "zmart", "ws, LISTEN/NOTIFY", "ws, replication", "bare sends"
NAMES = (OURS, NOTIFY, REPLICATION)
"""The servers that clients could use. BARE is not one of them: it shows the cost of the kernel alone."""
_FOLDERS = {NOTIFY: "ws_notify", REPLICATION: "ws_replication"}
_DATABASES = {OURS: "zmart_feed", NOTIFY: "notify", REPLICATION: "replication", BARE: "bare"}
_START_S = 30


@dataclass
class FeedServer:
    """A server under load; clients request `path` to receive every trade. `start` starts its process."""

    name: str
    port: int
    path: str
    writer: feed_database.TradeWriter
    start: Callable[[], subprocess.Popen[bytes]]
    process: subprocess.Popen[bytes]
    log: Path

    def cpu_s(self) -> float:
        times = psutil.Process(self.process.pid).cpu_times()
        return float(times.user + times.system)

    def memory_bytes(self) -> int:
        return int(psutil.Process(self.process.pid).memory_info().rss)

    def said(self) -> str:
        """Return a text that says whether the process runs, with the end of its log."""
        state = self.process.poll()
        ended = "it runs" if state is None else f"it ended with {state}"
        return f"{ended}; {self.log.read_text('utf-8', errors='replace')[-600:]}"

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    async def restart(self) -> None:
        """Start the server again on the same port, and wait until it listens."""
        self.process = self.start()
        await asyncio.to_thread(wait_until, self.listens, self.name, _START_S, self.process)

    def listens(self) -> bool:
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
            return True
        return False


class FeedServers:
    """Prepares a database for each server and starts the servers."""

    def __init__(self, stores: Stores, folder: Path) -> None:
        self._stores = stores
        self._folder = folder

    def database_url(self, name: str) -> str:
        return self._stores.database_url.format(_DATABASES[name])

    async def prepare(self) -> None:
        """Make the tables of all databases."""
        checkout.find(None).migrate(self.database_url(OURS))
        tables = {
            NOTIFY: feed_database.NOTIFYING,
            REPLICATION: feed_database.REPLICATED,
            BARE: feed_database.NOTIFYING,
        }
        for name, sql in tables.items():
            connection = await asyncpg.connect(self.database_url(name))
            await connection.execute(sql)
            await connection.close()

    @asynccontextmanager
    async def running(self, name: str) -> AsyncIterator[FeedServer]:
        """Run one of the servers within the block, with a writer of its database; yield it once it listens."""
        connection = await asyncpg.connect(self.database_url(name))
        await connection.execute(feed_database.DROP_SLOT)
        if name == REPLICATION:
            await connection.execute(feed_database.CREATE_SLOT)
        port, log = free_port(), self._folder / "server.log"
        start = self._starting(name, port, log)
        path = "/?channels=trades" if name == OURS else "/"
        server = FeedServer(name, port, path, feed_database.TradeWriter(connection), start, start(), log)
        try:
            await asyncio.to_thread(wait_until, server.listens, name, _START_S, server.process, log)
            yield server
        finally:
            server.kill()
            await connection.close()

    def _starting(self, name: str, port: int, log: Path) -> Callable[[], subprocess.Popen[bytes]]:
        if name == OURS:
            return self._ours(port, log)
        return self._bare(port, log) if name == BARE else self._peer(name, port, log)

    def _ours(self, port: int, log: Path) -> Callable[[], subprocess.Popen[bytes]]:
        ours = checkout.find(None)
        settings = {
            "ZMART_ENV": "local",
            "DATABASE_URL": self.database_url(OURS),
            "REDIS_URL": self._stores.redis_url,
            "WS_PORT": str(port),
            "WS_MAX_CONNECTIONS": "20000",
            "WS_MAX_PER_IP": "20000",
        }
        return lambda: _child(ours.command("run", "websocket"), {**ours.environment, **settings}, log)

    def _bare(self, port: int, log: Path) -> Callable[[], subprocess.Popen[bytes]]:
        command = bench_process("bare_feed.py", port, self.database_url(BARE))
        return lambda: _child(command, os.environ, log)

    def _peer(self, name: str, port: int, log: Path) -> Callable[[], subprocess.Popen[bytes]]:
        environment = {**os.environ, "PORT": str(port), "DATABASE_URL": self.database_url(name)}
        return lambda: peers.start(_FOLDERS[name], environment, log)


def install_peers() -> None:
    """Install the packages of the peers. Raises ConfigError when npm is missing or fails."""
    for folder in _FOLDERS.values():
        peers.installed(folder)


def bench_process(script: str, *arguments: object) -> list[str]:
    """Return the command of a script of the benchmark, run by the fast Python."""
    command = (machine.fast_python(), Path(__file__).with_name(script), *arguments)
    return [str(part) for part in command]


def _child(command: list[str], environment: Mapping[str, str], log: Path) -> subprocess.Popen[bytes]:
    with log.open("ab") as out:
        return subprocess.Popen(command, env=dict(environment), stdout=out, stderr=out)
