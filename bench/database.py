"""The stores of a run, and how many statements PostgreSQL runs: they show which answers were read again."""

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
    """A running PostgreSQL with one more line of configuration, and a Valkey."""
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
    """An empty PostgreSQL that counts statements, and a Valkey."""
    with servers(folder, "shared_preload_libraries = 'pg_stat_statements'") as (postgres, valkey):
        yield Stores(postgres.url(), valkey.url())


async def count_statements(connection: asyncpg.Connection) -> None:
    await connection.execute("CREATE EXTENSION IF NOT EXISTS pg_stat_statements")


async def statements(connection: asyncpg.Connection) -> int:
    """How many the servers have run so far; the benchmark's own are not counted."""
    return int(await connection.fetchval(_COUNT))


async def until_idle(connection: asyncpg.Connection) -> None:
    """Return when two looks in a row find nothing at work, or after some seconds: what one server left undone at the
    end of its turn must not burden the next one's."""
    idle = 0
    for _ in range(_MOST_LOOKS):
        idle = 0 if await connection.fetchval(_ACTIVE) else idle + 1
        if idle == 2:
            return
        await asyncio.sleep(_LOOK_S)
