"""Create a temporary database on the server of DATABASE_URL."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from urllib.parse import unquote_plus, urlsplit

import asyncpg

from zmart.errors import ConfigError
from zmart.store.connection import connect

_PREFIX = "zmart_scratch_"
_LEFT = f"SELECT datname FROM pg_database WHERE starts_with(datname, '{_PREFIX}')"
_CREATE = 'CREATE DATABASE "{}" TEMPLATE template0'
_CREATE_SCHEMA = 'CREATE SCHEMA IF NOT EXISTS "{}"'
_DROP = 'DROP DATABASE IF EXISTS "{}"'


@asynccontextmanager
async def scratch_database(database_url: str, schema: str = "public") -> AsyncIterator[str]:
    """Yield the address of a new database on the same server with the empty `schema`; it is dropped at the end. Unused
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
            url = address_of(database_url, name)
            await _create_schema(url, schema)
            yield url
        finally:
            await connection.execute(_DROP.format(name))
    finally:
        await connection.close()


def address_of(database_url: str, name: str) -> str:
    """Return the address of the database `name` on the server of `database_url`.

    A name in the query is left out, since libpq prefers it to the path: the dump would be loaded into that database.
    """
    parts = urlsplit(database_url)
    given = [part for part in parts.query.split("&") if part]
    query = [part for part in given if unquote_plus(part.partition("=")[0]) not in ("dbname", "database")]
    # urlunsplit would leave out the "//" of an address without a host, which libpq needs.
    return f"{parts.scheme}://{parts.netloc}/{name}{'?' if query else ''}{'&'.join(query)}"


async def _create_schema(database_url: str, schema: str) -> None:
    connection = await connect(database_url)
    try:
        await connection.execute(_CREATE_SCHEMA.format(schema.replace('"', '""')))
    finally:
        await connection.close()
