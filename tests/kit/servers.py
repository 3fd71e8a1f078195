"""Servers that a pytest worker starts for its tests on free ports; their files are erased afterwards."""

from __future__ import annotations

import asyncio
import itertools
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

import asyncpg

from zmart.chain.program import Program
from zmart.chain.rpc import Rpc
from zmart.local.chain.genesis import prepare_chain, shipped_program
from zmart.local.chain.keys import ChainKeys, load_keys
from zmart.local.chain.server import ChainServer
from zmart.local.postgres import Postgres
from zmart.local.processes import free_port
from zmart.local.valkey import Valkey
from zmart.settings import Settings


class Server(Protocol):
    """A program of the local stack that can be started, stopped and erased with its files."""

    def start(self) -> None: ...
    def stop(self) -> None: ...
    def erase(self) -> None: ...


RunningServer = TypeVar("RunningServer", bound=Server)


@contextmanager
def running(server: RunningServer) -> Iterator[RunningServer]:
    """Run `server` within the block; at its end, stop the server and erase its files."""
    try:
        server.start()
        yield server
    finally:
        server.stop()
        server.erase()


class Databases:
    """Creates and drops databases of one PostgreSQL, over a connection of its own.

    Copying a template's files costs a quarter of what `createdb` costs, which starts a program and writes everything to
    the log. That matters, because every second test gets a database.
    """

    def __init__(self, postgres: Postgres) -> None:
        self._postgres = postgres
        self._thread = ThreadPoolExecutor(1)  # with an event loop that no test closes
        self._runner = asyncio.Runner()
        self._connection: asyncpg.Connection | None = None
        self._numbers = itertools.count(1)

    def create(self, template: str) -> str:
        """Create a database as a copy of `template`; return its URL."""
        name = f"test_{next(self._numbers)}"
        self._execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy")
        return self._postgres.url(name)

    def drop(self, url: str) -> None:
        """Drop the database at `url`, and end its sessions."""
        self._execute(f"DROP DATABASE IF EXISTS {url.rpartition('/')[2]} WITH (FORCE)")

    def close(self) -> None:
        self._thread.submit(self._runner.run, self._close()).result()
        self._thread.submit(self._runner.close).result()
        self._thread.shutdown()

    def _execute(self, statement: str) -> None:
        self._thread.submit(self._runner.run, self._on_connection(statement)).result()

    async def _on_connection(self, statement: str) -> None:
        if self._connection is None or self._connection.is_closed():
            self._connection = await asyncpg.connect(self._postgres.url("postgres"))
        await self._connection.execute(statement)

    async def _close(self) -> None:
        if self._connection is not None:
            await self._connection.close()


def empty(valkey: Valkey) -> str:
    """Delete every key of a Valkey server; return its URL."""
    with socket.create_connection(("127.0.0.1", valkey.port), timeout=5) as connection:
        connection.sendall(f"AUTH {valkey.password}\r\nFLUSHALL\r\nQUIT\r\n".encode())
        with connection.makefile("rb") as answers:
            assert list(answers) == [b"+OK\r\n"] * 3
    return valkey.url()


@dataclass(frozen=True)
class LocalChain:
    """A running local chain with the program deployed and GlobalConfig initialized, and the keys that act on it."""

    server: ChainServer
    keys: ChainKeys
    program: Program

    @property
    def rpc_url(self) -> str:
        return self.server.rpc_url

    @property
    def ws_url(self) -> str:
        return self.server.ws_url


@contextmanager
def running_chain(folder: Path, addon: Path) -> Iterator[LocalChain]:
    """Run Surfpool within the block with the program, its GlobalConfig and new keys, among them a rich faucet's."""
    keys, program = load_keys(folder / "keys"), Program.from_settings(Settings(_env_file=None))

    async def prepare(url: str) -> None:
        async with Rpc([url]) as rpc:
            await prepare_chain(rpc, program, keys, shipped_program())

    with running(ChainServer(folder / "chain", free_port(), free_port(), addon)) as server:
        in_a_thread(asyncio.run, prepare(server.rpc_url))
        yield LocalChain(server, keys, program)


def in_a_thread(work, *arguments):
    """Run a function in another thread and return its result, so that it may run an event loop of its own."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(work, *arguments).result()
