"""Distinguish a wrong statement from a schema that was dropped or migrated to another version under a running process.

PostgreSQL reports both with the same codes. A wrong statement is a bug; a schema that a restore, a rollback or a drop
removed is not.
"""

from __future__ import annotations

import asyncpg

from zmart.errors import Unavailable
from zmart.store.driver_errors import DRIVER_ERRORS
from zmart.store.migrations import mismatch
from zmart.store.server_sessions import short_connection

REPORTED_BY = (
    asyncpg.InvalidSchemaNameError,
    asyncpg.UndefinedTableError,
    asyncpg.UndefinedColumnError,
    asyncpg.UndefinedFunctionError,
    asyncpg.UndefinedObjectError,
)
_HAS_REVISION = "SELECT to_regclass('alembic_version') IS NOT NULL"
_REVISION = "SELECT version_num FROM alembic_version"


async def schema_error(database_url: str) -> Unavailable | None:
    """Return an error if the database's schema is not the one of this version. Returns None if it is, or if the
    schema cannot be read now."""
    try:
        async with short_connection(database_url) as connection:
            has = await connection.fetchval(_HAS_REVISION)
            problem = mismatch(await connection.fetchval(_REVISION) if has else None)
    except DRIVER_ERRORS:
        return None
    return None if problem is None else Unavailable(problem)
