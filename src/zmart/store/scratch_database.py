"""Create a temporary database on the server of DATABASE_URL."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from urllib.parse import urlsplit, urlunsplit

import asyncpg

from zmart.errors import ConfigError
from zmart.store.connection import connect

_PREFIX = "zmart_scratch_"
_LEFT = f"SELECT datname FROM pg_database WHERE starts_with(datname, '{_PREFIX}')"
_CREATE = 'CREATE DATABASE "{}" TEMPLATE template0'
_DROP = 'DROP DATABASE IF EXISTS "{}"'


@asynccontextmanager
async def scratch_database(database_url: str) -> AsyncIterator[str]:
    """Yield the address of a new, empty database on the same server; the database is dropped at the end. Unused
    temporary databases of killed processes are dropped first. Raises as `connect`, and ConfigError if the role may not
    create databases."""
    name = _PREFIX + secrets.token_hex(6)
    connection = await connect(database_url, statement_within_s=None)
    try:
        for row in await connection.fetch(_LEFT):
            with suppress(asyncpg.ObjectInUseError):  # another process works in it
                await connection.execute(_DROP.format(row["datname"]))
        try:
            await connection.execute(_CREATE.format(name))
        except asyncpg.InsufficientPrivilegeError:
            raise ConfigError(
                "The role of DATABASE_URL may not create databases: name an empty one with --into."
            ) from None
        try:
            yield urlunsplit(urlsplit(database_url)._replace(path=f"/{name}"))
        finally:
            await connection.execute(_DROP.format(name))
    finally:
        await connection.close()
