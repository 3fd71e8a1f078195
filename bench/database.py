"""The PostgreSQL and Valkey of a run, and the count of statements, which tells database reads and cache hits apart."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import asyncpg
from subjects import Stores

from zmart.local.postgres import Postgres
from zmart.local.processes import free_port
from zmart.local.valkey import Valkey

_COUNT = "SELECT coalesce(sum(calls), 0)::bigint FROM pg_stat_statements WHERE query NOT LIKE '%/* bench */%'"


_ACTIVE = """
SELECT /* bench */ count(*) FROM pg_stat_activity
WHERE state = 'active' AND backend_type = 'client backend' AND pid <> pg_backend_pid()
"""
_LOOK_S, _MOST_LOOKS = 0.05, 100


@contextmanager
def servers(folder: Path, setting: str) -> Iterator[tuple[Postgres, Valkey]]:
    """Run a PostgreSQL with one additional line of configuration, and a Valkey, within the block."""
    postgres, valkey = Postgres(folder / "postgres", free_port()), Valkey(folder / "valkey", free_port())
    try:
        postgres.prepare()
        with (postgres.data / "postgresql.auto.conf").open("a") as settings:
            settings.write(f"{setting}\n")
        postgres.start()
        valkey.start()
        yield postgres, valkey
    finally:
        valkey.stop()
        postgres.stop()
        postgres.erase()


@contextmanager
def stores(folder: Path) -> Iterator[Stores]:
    """Run an empty PostgreSQL that counts statements, and a Valkey, within the block; yield their URLs."""
    with servers(folder, "shared_preload_libraries = 'pg_stat_statements'") as (postgres, valkey):
        yield Stores(postgres.url(), valkey.url())


async def count_statements(connection: asyncpg.Connection) -> None:
    await connection.execute("CREATE EXTENSION IF NOT EXISTS pg_stat_statements")


async def statements(connection: asyncpg.Connection) -> int:
    """Return how many statements the servers have run so far, without those marked as the benchmark's own."""
    return int(await connection.fetchval(_COUNT))


async def until_idle(connection: asyncpg.Connection) -> None:
    """Wait until two looks in a row find no active session, for some seconds at most.

    Work that one server has left at the end of its turn must not slow the next one.
    """
    idle = 0
    for _ in range(_MOST_LOOKS):
        idle = 0 if await connection.fetchval(_ACTIVE) else idle + 1
        if idle == 2:
            return
        await asyncio.sleep(_LOOK_S)
