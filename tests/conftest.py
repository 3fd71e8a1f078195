"""Fixtures of real servers and databases, which each pytest worker starts for itself, on free ports."""

from __future__ import annotations

import gc
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import structlog
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings

from kit.servers import Databases, LocalChain, empty, in_a_thread, running, running_chain
from kit.temporary_files import keep_in_memory
from kit.timeouts import pytest_collection_modifyitems, pytest_runtest_makereport  # noqa: F401  # hooks
from zmart.local.chain.server import ChainServer
from zmart.local.postgres import Postgres
from zmart.local.processes import free_port
from zmart.local.valkey import Valkey
from zmart.store.pool import Pool

if TYPE_CHECKING:
    from kit.decisions import Scene

TEMPLATE = "migrated"
keep_in_memory()
gc.disable()  # collecting creates objects that stay; collecting garbage took a fifth of its time


def pytest_collection_finish() -> None:
    """Exclude what the collection of tests created from garbage collection, and switch the collector on again."""
    gc.freeze()
    gc.enable()


# Drawing examples is slow on a busy machine, so it is not checked; the code under test keeps its deadline.
hypothesis_settings.register_profile("busy", suppress_health_check=[HealthCheck.too_slow])
hypothesis_settings.load_profile("busy")
# As by default, but tracebacks have no frames and colours: drawing these took 3 % of the time of all tests.
structlog.configure(
    processors=[
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso"),
        structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback),
    ]
)


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    """The running PostgreSQL of this worker."""
    with running(Postgres(tmp_path_factory.mktemp("postgres"), free_port(), durable=False)) as server:
        yield server


@pytest.fixture(scope="session")
def migrated_template(postgres: Postgres) -> str:
    """The name of a database in which all migrations have run, to be used as a template."""
    from zmart.store import migrate

    in_a_thread(migrate.upgrade, postgres.create_database(TEMPLATE))
    return TEMPLATE


@pytest.fixture
def chain(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[ChainServer]:
    """A local chain of the test's own, without the program, which the test may kill, fill and start again."""
    addon = request.config.rootpath / ".zmart" / "node"
    with running(ChainServer(tmp_path / "chain", free_port(), free_port(), addon)) as server:
        yield server


@pytest.fixture(scope="session")
def databases(postgres: Postgres) -> Iterator[Databases]:
    """The object that makes and drops the databases of single tests."""
    made = Databases(postgres)
    yield made
    made.close()


@pytest.fixture(scope="session")
def new_database(databases: Databases) -> Callable[[str], str]:
    """A function `new_database(template)` that makes one more database and returns its address."""
    return databases.create


@pytest.fixture
def database_url(databases: Databases, migrated_template: str) -> Iterator[str]:
    """The address of a fresh database with the whole schema and no rows."""
    url = databases.create(migrated_template)
    yield url
    databases.drop(url)


@pytest.fixture
async def pool(database_url: str) -> AsyncIterator[Pool]:
    """A pool of 8 connections to `database_url`; waiting for one may take 30 s, since the machine may be busy."""
    opened = await Pool.open(database_url, size=8, wait_s=30)
    yield opened
    await opened.close()


@pytest.fixture
def empty_database_url(databases: Databases) -> Iterator[str]:
    """The address of a database without any table."""
    url = databases.create("template1")
    yield url
    databases.drop(url)


@pytest.fixture(scope="session")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    """The running Valkey of this worker."""
    with running(Valkey(tmp_path_factory.mktemp("valkey"), free_port(), durable=False)) as server:
        yield server


@pytest.fixture
def redis_url(valkey: Valkey) -> str:
    """The address of an empty Redis database."""
    return empty(valkey)


@pytest.fixture
def own_valkey(tmp_path: Path) -> Iterator[Valkey]:
    """A Valkey of the test's own, whose settings the test may change."""
    with running(Valkey(tmp_path / "valkey", free_port(), durable=False)) as server:
        yield server


@pytest.fixture(scope="session")
def local_chain(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[LocalChain]:
    """The local chain of this worker, with the program on it."""
    with running_chain(
        tmp_path_factory.mktemp("chain"), request.config.rootpath / ".zmart" / "node"
    ) as chain:
        yield chain


@pytest.fixture
async def scene(local_chain: LocalChain, database_url: str) -> AsyncIterator[Scene]:
    """Markets on the local chain, and a backend that decides about them."""
    from kit.decisions import Scene

    async with Scene.open(local_chain, database_url) as opened:
        yield opened
