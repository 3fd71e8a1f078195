"""Read what a database holds, in one snapshot: its schema, how far index and feed are, and a digest of each table.

A backup says it of the database that was dumped, and the check of a backup compares it with the one that was restored.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec

from zmart.errors import ConfigError
from zmart.store import migrate
from zmart.store.connection import connect
from zmart.store.pool import Connection

_SETTINGS = """
SELECT set_config(name, value, true) FROM (VALUES
    ('TimeZone', 'UTC'), ('DateStyle', 'ISO'), ('IntervalStyle', 'postgres'), ('bytea_output', 'hex'),
    ('extra_float_digits', '1'), ('statement_timeout', '0'), ('idle_in_transaction_session_timeout', '0')
) AS settings (name, value)
"""
_EXPORT = "SELECT pg_export_snapshot()"
_SCHEMA = "SELECT current_schema()"
_TABLES = """
SELECT relname FROM pg_class
WHERE relnamespace = current_schema()::regnamespace AND relkind IN ('r', 'p') AND NOT relispartition ORDER BY relname
"""
# The order of rows does not matter. A row is 60 bits of its MD5: this finds damage, it does not prove anything.
_TABLE = """
SELECT count(*), coalesce(sum(('x' || left(md5(counted_row::text), 15))::bit(60)::bigint), 0)::text
FROM {} AS counted_row
"""
_FINGERPRINTS = "SELECT revision, fingerprint FROM schema_migrations"
_PROGRESS = "SELECT program_id, genesis_hash, gap_free_through_slot FROM index_progress"
_PUBLICATIONS = "SELECT pubname FROM pg_publication"
_FEED = "SELECT epoch::text, head FROM feed_head"


class TableState(msgspec.Struct, frozen=True):
    """The rows of a table: their number, and a sum over all of them."""

    rows: int
    digest: str


class DatabaseState(msgspec.Struct, frozen=True, kw_only=True):
    """What a database holds. `program_id`, `genesis_hash` and `gap_free_slot` are None where nothing was indexed."""

    revision: str
    fingerprints: dict[str, str]
    program_id: str | None
    genesis_hash: str | None
    gap_free_slot: int | None
    feed_epoch: str
    feed_offset: int
    tables: dict[str, TableState]

    @property
    def rows(self) -> int:
        """Return the number of all rows."""
        return sum(table.rows for table in self.tables.values())


class Snapshot(msgspec.Struct, frozen=True):
    """A snapshot of the database that other sessions may read, too, by its `id`, while it is held."""

    id: str
    schema: str
    server_major: int
    connection: Connection

    async def state(self) -> DatabaseState:
        """Read the state as of the snapshot."""
        return await _read(self.connection)


@asynccontextmanager
async def held_snapshot(database_url: str) -> AsyncIterator[Snapshot]:
    """Hold a snapshot of the database for the block. Raises as `connect`, and ConfigError for a database without a
    schema of ours."""
    connection = await connect(database_url, statement_within_s=None)
    try:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            await connection.execute(_SETTINGS)
            if (await migrate.status_of(connection)).current is None:
                raise ConfigError(
                    "The database of DATABASE_URL has no schema of ours: there is nothing to back up."
                )
            yield Snapshot(
                await connection.fetchval(_EXPORT),
                await connection.fetchval(_SCHEMA),
                connection.get_server_version().major,
                connection,
            )
    finally:
        await connection.close()


async def read_state(database_url: str) -> DatabaseState:
    """Read the state of a database now. Raises as `held_snapshot`."""
    async with held_snapshot(database_url) as snapshot:
        return await snapshot.state()


async def server_major(database_url: str) -> int:
    """Return the major version of the server. Raises as `connect`."""
    connection = await connect(database_url)
    try:
        version: int = connection.get_server_version().major
        return version
    finally:
        await connection.close()


async def feed_epoch(database_url: str) -> str:
    """Return the epoch of the change feed. Raises as `connect`."""
    connection = await connect(database_url)
    try:
        epoch, _ = await connection.fetchrow(_FEED)
        return str(epoch)
    finally:
        await connection.close()


async def publications(database_url: str) -> frozenset[str]:
    """Return the names of the publications of a database. Raises as `connect`."""
    connection = await connect(database_url)
    try:
        return frozenset(row[0] for row in await connection.fetch(_PUBLICATIONS))
    finally:
        await connection.close()


async def _read(connection: Connection) -> DatabaseState:
    status = await migrate.status_of(connection)
    assert status.current is not None  # looked at when the snapshot was taken
    progress = await connection.fetchrow(_PROGRESS)
    epoch, offset = await connection.fetchrow(_FEED)
    tables = [row[0] for row in await connection.fetch(_TABLES)]
    return DatabaseState(
        revision=status.current,
        fingerprints=dict(await connection.fetch(_FINGERPRINTS)),
        program_id=progress and progress["program_id"],
        genesis_hash=progress and progress["genesis_hash"],
        gap_free_slot=progress and progress["gap_free_through_slot"],
        feed_epoch=epoch,
        feed_offset=offset,
        tables={name: TableState(*await connection.fetchrow(_TABLE.format(f'"{name}"'))) for name in tables},
    )
