"""Real servers for the tests that ask for them: each pytest worker starts its own, on free ports."""

from __future__ import annotations

import itertools
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from zmart.local.postgres import Postgres
from zmart.local.processes import free_port
from zmart.local.valkey import Valkey

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
