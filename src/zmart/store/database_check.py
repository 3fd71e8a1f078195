"""Check whether this version can work in a database. Services do so when they start; `zmart doctor` does so, too."""

from __future__ import annotations

import structlog

from zmart.errors import ConfigError
from zmart.store import migrate, status
from zmart.store.migrations import mismatch
from zmart.store.pool import Connection
from zmart.store.sessions import session

OLDEST_MAJOR = 15
log = structlog.get_logger()


async def require_usable(database_url: str) -> None:
    """Return if this version can work in the database. Raises SettingError for a connection pooler in transaction mode,
    ConfigError for a schema on which this version does not work or a server older than OLDEST_MAJOR, and StoreError
    when the database cannot be read."""
    async with session(database_url) as connection:
        await _require_usable(connection)


async def require_writable(database_url: str) -> None:
    """Return if this version can work in the database and write to it now. Raises as `require_usable`, and ReadOnly
    when the database accepts no writes."""
    async with session(database_url) as connection:
        await _require_usable(connection)
        await status.check(connection)


async def _require_usable(connection: Connection) -> None:
    _require_version(connection)
    _require_schema(await migrate.status_of(connection))


def _require_version(connection: Connection) -> None:
    version = connection.get_server_version()
    if version.major < OLDEST_MAJOR:
        raise ConfigError(
            f"PostgreSQL of DATABASE_URL is version {version.major}: {OLDEST_MAJOR} is the oldest that works."
        )


def _require_schema(schema: migrate.SchemaStatus) -> None:
    if not schema.works:
        raise ConfigError(schema.problem or mismatch(schema.current))
    if schema.is_newer:
        log.info("a newer version migrated the database", revision=schema.current, newest_known=schema.head)
