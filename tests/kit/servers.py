"""Servers that a pytest worker starts for its tests, on free ports, and erases afterwards."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from zmart.chain.program import Program
from zmart.chain.rpc import Rpc
from zmart.local.chain.genesis import prepare_chain, shipped_program
from zmart.local.chain.keys import ChainKeys, load_keys
from zmart.local.chain.server import ChainServer
from zmart.local.processes import free_port
from zmart.local.valkey import Valkey
from zmart.settings import Settings


class Server(Protocol):
    """A program of the local stack."""

    def start(self) -> None: ...
    def stop(self) -> None: ...
    def erase(self) -> None: ...


RunningServer = TypeVar("RunningServer", bound=Server)


@contextmanager
def running(server: RunningServer) -> Iterator[RunningServer]:
    """Start `server`; in the end stop it and erase its files."""
    try:
        server.start()
        yield server
    finally:
        server.stop()
        server.erase()


def empty(valkey: Valkey) -> str:
    """Delete every key; returns the address."""
    with socket.create_connection(("127.0.0.1", valkey.port), timeout=5) as connection:
        connection.sendall(f"AUTH {valkey.password}\r\nFLUSHALL\r\nQUIT\r\n".encode())
        with connection.makefile("rb") as answers:
            assert list(answers) == [b"+OK\r\n"] * 3
    return valkey.url()


@dataclass(frozen=True)
class LocalChain:
    """A running chain with the program deployed and GlobalConfig initialized, and who acts on it."""

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
    """Surfpool with the program, its GlobalConfig, and keys of its own: admin, backend, fees, faucet (rich)."""
    keys, program = load_keys(folder / "keys"), Program.from_settings(Settings(_env_file=None))

    async def prepare(url: str) -> None:
        async with Rpc([url]) as rpc:
            await prepare_chain(rpc, program, keys, shipped_program())

    with running(ChainServer(folder / "chain", free_port(), free_port(), addon)) as server:
        in_a_thread(asyncio.run, prepare(server.rpc_url))
        yield LocalChain(server, keys, program)


def in_a_thread(work, *arguments):
    """Run what brings an event loop of its own, wherever that is asked for; its result."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(work, *arguments).result()
