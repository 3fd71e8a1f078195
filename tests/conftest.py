"""Real servers for the tests that ask for them: each pytest worker starts its own, on free ports."""

from __future__ import annotations

import asyncio
import itertools
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest

from zmart.chain.program import Program
from zmart.chain.rpc import Rpc
from zmart.local.chain.genesis import prepare_chain, shipped_program
from zmart.local.chain.keys import Keys, load_keys
from zmart.local.chain.server import Chain
from zmart.local.postgres import Postgres
from zmart.local.processes import free_port
from zmart.local.valkey import Valkey
from zmart.settings import Settings

TEMPLATE = "migrated"


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    """A running PostgreSQL of this worker."""
    server = Postgres(tmp_path_factory.mktemp("postgres"), free_port(), durable=False)
    try:
        server.start()
        yield server
    finally:
        server.stop()
        server.erase()


@pytest.fixture(scope="session")
def migrated_template(postgres: Postgres) -> str:
    """The name of a database in which all migrations ran once; copying it takes 40 ms."""
    from zmart.store import migrate

    url = postgres.create_database(TEMPLATE)
    with ThreadPoolExecutor(1) as thread:  # migrations bring an event loop of their own
        thread.submit(migrate.upgrade, url).result()
    return TEMPLATE


@pytest.fixture(scope="session")
def new_database(postgres: Postgres) -> Callable[[str], str]:
    """`new_database(template)` makes one more database and returns its address."""
    numbers = itertools.count(1)
    return lambda template: postgres.create_database(f"test_{next(numbers)}", template)


@pytest.fixture
def database_url(
    postgres: Postgres, migrated_template: str, new_database: Callable[[str], str]
) -> Iterator[str]:
    """The address of a fresh database with the whole schema and no rows."""
    url = new_database(migrated_template)
    yield url
    postgres.drop_database(url.rpartition("/")[2])


@pytest.fixture
def empty_database_url(postgres: Postgres, new_database: Callable[[str], str]) -> Iterator[str]:
    """The address of a database without any table."""
    url = new_database("template1")
    yield url
    postgres.drop_database(url.rpartition("/")[2])


@pytest.fixture(scope="session")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    """A running Valkey of this worker."""
    server = Valkey(tmp_path_factory.mktemp("valkey"), free_port(), durable=False)
    try:
        server.start()
        yield server
    finally:
        server.stop()
        server.erase()


@pytest.fixture
def redis_url(valkey: Valkey) -> str:
    """The address of an empty Redis database."""
    with socket.create_connection(("127.0.0.1", valkey.port), timeout=5) as connection:
        connection.sendall(f"AUTH {valkey.password}\r\nFLUSHALL\r\nQUIT\r\n".encode())
        with connection.makefile("rb") as answers:
            assert list(answers) == [b"+OK\r\n"] * 3
    return valkey.url()


@dataclass(frozen=True)
class LocalChain:
    """A running chain with the program deployed and GlobalConfig initialized, and who acts on it."""

    server: Chain
    keys: Keys
    program: Program

    @property
    def rpc_url(self) -> str:
        return self.server.rpc_url

    @property
    def ws_url(self) -> str:
        return self.server.ws_url


@pytest.fixture(scope="session")
def local_chain(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[LocalChain]:
    """Surfpool with the program, its GlobalConfig, and keys of its own: admin, backend, fees, faucet (rich)."""
    folder = tmp_path_factory.mktemp("chain")
    addon = request.config.rootpath / ".zmart" / "node"
    server = Chain(folder / "chain", free_port(), free_port(), addon)
    chain = LocalChain(server, load_keys(folder / "keys"), Program.from_settings(Settings(_env_file=None)))

    async def prepare() -> None:
        async with Rpc([server.rpc_url]) as rpc:
            await prepare_chain(rpc, chain.program, chain.keys, shipped_program())

    try:
        server.start()
        with ThreadPoolExecutor(1) as thread:
            thread.submit(asyncio.run, prepare()).result()
        yield chain
    finally:
        server.stop()
        server.erase()
