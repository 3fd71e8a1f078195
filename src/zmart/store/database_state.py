"""Read the state of a database in one snapshot: its schema, the progress of index and feed, and a digest of each table.

A backup records the state of the dumped database; the check of a backup compares the restored database with it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec

from zmart.errors import ConfigError
from zmart.store import migrate
from zmart.store.connection import connect
from zmart.store.pool import Connection, fetch_existing

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
# The digest is a sum over rows, so their order does not matter. A row counts as 60 bits of its MD5: the digest detects
# damage, but not a deliberate change.
_TABLE = """
SELECT count(*), coalesce(sum(('x' || left(md5(counted_row::text), 15))::bit(60)::bigint), 0)::text
FROM {} AS counted_row
"""
_PROGRESS = "SELECT program_id, genesis_hash, gap_free_through_slot FROM index_progress"
_PUBLICATIONS = "SELECT pubname FROM pg_publication"
_FEED = "SELECT epoch::text, head FROM feed_head"
_HIDDEN = (
    "The role of DATABASE_URL sees no row of feed_head, which has one: row security hides it. Use the role that owns "
    "the tables."
)


class TableState(msgspec.Struct, frozen=True):
    """The state of a table: the number of its rows, and a digest that is the sum of their hashes."""

    rows: int
    digest: str


class DatabaseState(msgspec.Struct, frozen=True, kw_only=True):
    """The state of a database. `revision`: of its schema; `fingerprints`: of its migrations, by revision; `tables`: by
    name. `program_id`, `genesis_hash` and `gap_free_slot` are None before an indexer has ever run on it."""

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
        """Return the number of rows of all tables together."""
        return sum(table.rows for table in self.tables.values())


class Snapshot(msgspec.Struct, frozen=True):
    """A snapshot of the database, held by `connection`. Other sessions can read it by its `id` (SET TRANSACTION
    SNAPSHOT) while it is held. `schema` is the name of the schema with the tables."""

    id: str
    schema: str
    server_major: int
    connection: Connection

    async def state(self) -> DatabaseState:
        """Read the state of the database as of the snapshot."""
        return await _read(self.connection)


@asynccontextmanager
async def held_snapshot(database_url: str) -> AsyncIterator[Snapshot]:
    """Hold a snapshot of the database for the block. Raises as `connect`, and ConfigError for a database without our
    schema."""
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
    """Return the id of the change feed's current epoch. Raises as `connect`."""
    connection = await connect(database_url)
    try:
        epoch, _ = await _feed(connection)
        return epoch
    finally:
        await connection.close()


async def publications(database_url: str) -> frozenset[str]:
    """Return the names of the database's publications (logical replication). Raises as `connect`."""
    connection = await connect(database_url)
    try:
        return frozenset(row[0] for row in await connection.fetch(_PUBLICATIONS))
    finally:
        await connection.close()


async def _feed(connection: Connection) -> tuple[str, int]:
    """Return the epoch of the change feed and its newest offset."""
    feed = await connection.fetchrow(_FEED)
    if feed is None:
        raise ConfigError(_HIDDEN)
    return feed["epoch"], feed["head"]


async def _read(connection: Connection) -> DatabaseState:
    status = await migrate.status_of(connection)
    assert status.current is not None  # checked when the snapshot was taken
    progress = await connection.fetchrow(_PROGRESS)
    epoch, offset = await _feed(connection)
    tables = [row[0] for row in await connection.fetch(_TABLES)]
    return DatabaseState(
        revision=status.current,
        fingerprints=await migrate.fingerprints(connection),
        program_id=None if progress is None else progress["program_id"],
        genesis_hash=None if progress is None else progress["genesis_hash"],
        gap_free_slot=None if progress is None else progress["gap_free_through_slot"],
        feed_epoch=epoch,
        feed_offset=offset,
        tables={
            name: TableState(*await fetch_existing(connection, _TABLE.format(f'"{name}"'))) for name in tables
        },
    )
