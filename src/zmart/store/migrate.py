"""Migrations up and down, and the job tables of PgQueuer, which looks after its own schema."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec

from zmart.store.connection import connect
from zmart.store.migrations import HEAD
from zmart.store.pool import Connection

_LOCK = 0x7A6D617274  # any number that nobody else uses: two migrations never run at once
_VERSION = "SELECT version_num FROM alembic_version"
_HAS_VERSION = "SELECT to_regclass('alembic_version') IS NOT NULL"
_TRY_LOCK = "SELECT pg_advisory_lock($1)"


class Status(msgspec.Struct, frozen=True):
    """`current` is None for an empty database."""

    current: str | None
    head: str

    @property
    def up_to_date(self) -> bool:
        return self.current == self.head


async def status(database_url: str) -> Status:
    """Which revision the database has. Raises StoreError when it cannot be reached."""
    connection = await connect(database_url)
    try:
        has = await connection.fetchval(_HAS_VERSION)
        return Status(await connection.fetchval(_VERSION) if has else None, HEAD)
    finally:
        await connection.close()


def upgrade(database_url: str, revision: str = "head") -> Status:
    """Bring the database to `revision`; cheap when it is there already. Blocks: not for a running loop."""
    before = asyncio.run(status(database_url))
    if revision == "head" and before.up_to_date:
        return before
    asyncio.run(_guarded(database_url, "upgrade", revision))
    return asyncio.run(status(database_url))


def rollback(database_url: str, revision: str = "-1") -> Status:
    """Take back the newest migration, or all down to `revision` ("base" empties the schema). Blocking."""
    asyncio.run(_guarded(database_url, "downgrade", revision))
    return asyncio.run(status(database_url))


async def _guarded(database_url: str, command: str, revision: str) -> None:
    lock = await connect(database_url, statement_within_s=None)
    try:
        await lock.execute(_TRY_LOCK, _LOCK)
        await asyncio.to_thread(_alembic, database_url, command, revision)
        await _job_tables(lock, wanted=not (command == "downgrade" and revision == "base"))
    finally:
        await lock.close()


def _alembic(database_url: str, command: str, revision: str) -> None:
    from alembic import command as commands
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["url"] = database_url
    getattr(commands, command)(config, revision)


async def _job_tables(connection: Connection, *, wanted: bool) -> None:
    from pgqueuer.db import AsyncpgDriver
    from pgqueuer.queries import Queries

    queries = Queries(AsyncpgDriver(connection))
    present = await queries.has_table(queries.qbe.settings.queue_table)
    if wanted and not present:
        await queries.install()
    elif wanted:
        await queries.upgrade()
    elif present:
        await queries.uninstall()
