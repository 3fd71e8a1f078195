"""Migrate the schema up and down, together with the job tables of PgQueuer, which has its own migrations."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from zmart.errors import Busy, Invalid, StoreError
from zmart.store import change_feed
from zmart.store.connection import connect
from zmart.store.driver_errors import DRIVER_ERRORS, store_error
from zmart.store.migrations import HEAD, REVISIONS, UNKNOWN_REVISION, fingerprint, oldest_code_in
from zmart.store.pool import Connection
from zmart.store.sessions import session

_LOCK = 0x7A6D617274  # an arbitrary number that no other lock uses: two migrations never run at once
_VERSION = "SELECT version_num FROM alembic_version"
_HAS_VERSION = "SELECT to_regclass('alembic_version') IS NOT NULL"
_FINGERPRINTS = "SELECT revision, fingerprint FROM schema_migrations"
_COMMENT = "SELECT obj_description('alembic_version'::regclass, 'pg_class')"
_HAS_FINGERPRINTS = "SELECT to_regclass('schema_migrations') IS NOT NULL"
_TAKE_LOCK = "SELECT pg_advisory_lock($1)"
LOCKS_WITHIN_S = 60.0
"""Seconds for which a migration that cannot lock its tables is tried again."""
_PAUSE_S = 1.0
_OTHER_MIGRATION = (
    "This database was created by a different migration {}, so this version cannot change its schema. Start with an "
    "empty database (`zmart up --fresh` on the local stack; elsewhere create one, set DATABASE_URL and run `zmart "
    "migrate up`): the indexer reads the chain again; votes, comments and profiles stay in the old database."
)
_OTHER_ENCODING = (
    "The database of DATABASE_URL has the encoding {}, which cannot hold every text: create one with CREATE DATABASE "
    "... TEMPLATE template0 ENCODING 'UTF8'."
)
_UNREADABLE = "The user of DATABASE_URL may not read schema_migrations: use the user that owns the tables."
_NOT_BY_THIS_VERSION = (
    "This database has revision {}, on which this version works, but which it does not know: migrate it with the "
    "version that created it."
)


class SchemaStatus(msgspec.Struct, frozen=True):
    """The status of a database's schema. `current`: its revision, None without our schema; `head`: the newest
    revision of this version. `problem`: why this version cannot migrate the database; None if it can. `is_newer`: a
    newer version migrated the database to a schema on which this version still works."""

    current: str | None
    head: str
    problem: str | None = None
    is_newer: bool = False

    @property
    def works(self) -> bool:
        """Whether this version works on the database's schema."""
        return self.up_to_date or self.is_newer

    @property
    def up_to_date(self) -> bool:
        """Whether the database has the newest revision of this version, made by this version's migrations."""
        return self.current == self.head and self.problem is None


async def status(database_url: str) -> SchemaStatus:
    """Return the schema status of a database. Raises StoreError when the database cannot be read, SettingError for a
    connection pooler in transaction mode."""
    async with session(database_url) as connection:
        return await status_of(connection)


async def status_of(connection: Connection) -> SchemaStatus:
    """Return the schema status of the database of an open connection."""
    has = await connection.fetchval(_HAS_VERSION)
    current = await connection.fetchval(_VERSION) if has else None
    if (problem := _encoding_problem(connection)) is not None or current is None:
        return SchemaStatus(current, HEAD, problem)
    if current in REVISIONS:
        known = REVISIONS[: REVISIONS.index(current) + 1]
        return SchemaStatus(current, HEAD, await _problem(connection, known))
    oldest_code = oldest_code_in(await connection.fetchval(_COMMENT), current)
    if oldest_code is None or oldest_code > HEAD:
        return SchemaStatus(current, HEAD, UNKNOWN_REVISION.format(current))
    problem = await _problem(connection, REVISIONS)
    return SchemaStatus(current, HEAD, problem, is_newer=problem is None)


def _encoding_problem(connection: Connection) -> str | None:
    """Return a sentence if the database's encoding cannot hold every text; None if it can."""
    encoding = connection.get_settings().server_encoding
    return None if encoding == "UTF8" else _OTHER_ENCODING.format(encoding)


async def fingerprints(connection: Connection) -> dict[str, str]:
    """Return the recorded fingerprints of the migrations, by revision."""
    return {row["revision"]: row["fingerprint"] for row in await connection.fetch(_FINGERPRINTS)}


async def _problem(connection: Connection, known: Sequence[str]) -> str | None:
    """Return a sentence if the fingerprints of the revisions in `known` are not this version's; None if they are.
    The database was then migrated with other SQL, or its recorded fingerprints cannot be read."""
    has = await connection.fetchval(_HAS_FINGERPRINTS)
    recorded = await fingerprints(connection) if has else {}
    if has and known and not recorded:  # row level security hides the rows from every role but the owner
        return _UNREADABLE
    for revision in known:
        if recorded.get(revision) != fingerprint(revision):
            return _OTHER_MIGRATION.format(revision)
    return None


def upgrade(database_url: str, revision: str = "head") -> SchemaStatus:
    """Migrate the database to `revision` ("head": the newest of this version), and return its status after that.

    With "head", a database that is up to date, or has a newer schema on which this version works, is not migrated. A
    restored database begins a new epoch of its change feed. The call blocks, so it must not be made in a running event
    loop. Raises StoreError for a database that other migrations created, or that is unavailable, busy or read-only, and
    for another `revision` than "head" on a newer schema; SettingError for a connection pooler in transaction mode.
    """
    after = _checked(database_url)
    if after.is_newer:
        if revision != "head":
            raise StoreError(_NOT_BY_THIS_VERSION.format(after.current))
        asyncio.run(_renew_restored_epoch(database_url))
        return after
    if revision != "head" or not after.up_to_date:
        asyncio.run(_guarded(database_url, "upgrade", revision))
        after = asyncio.run(status(database_url))
    if after.up_to_date:
        asyncio.run(_renew_restored_epoch(database_url))
    return after


def rollback(database_url: str, revision: str = "-1") -> SchemaStatus:
    """Revert migrations, and return the status after that. `revision` is "-1" for the newest migration alone, the
    revision to go back to, or "base" to remove the whole schema.

    The call blocks, so it must not be made in a running event loop. Raises as `upgrade`, also StoreError for a database
    that a newer version migrated, and Invalid("to") for a `revision` that is not one before the database's.
    """
    from alembic.util.exc import CommandError  # only where something is migrated: it is slow to load

    before = _checked(database_url)
    if before.is_newer:
        raise StoreError(_NOT_BY_THIS_VERSION.format(before.current))
    earlier = [each for each in REVISIONS if each < (before.current or "")]
    unknown = Invalid(
        "to",
        f"{revision[:40]!r} is no revision before {before.current}: -1, base, or one of {', '.join(earlier)}.",
    )
    if revision not in ("-1", "base", *earlier):
        raise unknown
    try:
        asyncio.run(_guarded(database_url, "downgrade", revision))
    except CommandError:  # there is none to revert
        raise unknown from None
    return asyncio.run(status(database_url))


def _checked(database_url: str) -> SchemaStatus:
    before = asyncio.run(status(database_url))
    if before.problem is not None:
        raise StoreError(before.problem)
    return before


async def _guarded(database_url: str, command: str, revision: str) -> None:
    lock = await connect(database_url, statement_within_s=None)
    try:
        await lock.execute(_TAKE_LOCK, _LOCK)
        await _with_locks(database_url, command, revision)
        await _job_tables(lock, needed=not (command == "downgrade" and revision == "base"))
    finally:
        await lock.close()


async def _with_locks(database_url: str, command: str, revision: str) -> None:
    """Run an Alembic command, and repeat it for LOCKS_WITHIN_S while other sessions hold the locks that it needs. In
    the pauses between, other sessions can use the tables. Raises Busy after that."""
    deadline_s = time.monotonic() + LOCKS_WITHIN_S
    while True:
        try:
            await asyncio.to_thread(_alembic, database_url, command, revision)
        except Busy:
            if time.monotonic() >= deadline_s:
                raise
            await asyncio.sleep(_PAUSE_S)
        else:
            return


def _alembic(database_url: str, command: str, revision: str) -> None:
    """Run an Alembic command. Raises the errors of the store instead of those of SQLAlchemy and the driver."""
    from sqlalchemy.exc import DBAPIError

    try:
        _run_alembic(database_url, command, revision)
    except (DBAPIError, *DRIVER_ERRORS) as problem:
        driver = problem.orig and problem.orig.__cause__ if isinstance(problem, DBAPIError) else problem
        known = store_error(driver, connected=True) if isinstance(driver, DRIVER_ERRORS) else None
        if known is None:
            raise
        raise known from problem


def _run_alembic(database_url: str, command: str, revision: str) -> None:
    from alembic import command as commands
    from alembic.config import Config

    config = Config()
    folder = str(Path(__file__).parent / "migrations")
    config.set_main_option("script_location", folder.replace("%", "%%"))  # Config interpolates values
    config.attributes["url"] = database_url
    getattr(commands, command)(config, revision)


async def _job_tables(connection: Connection, *, needed: bool) -> None:
    from pgqueuer.db import AsyncpgDriver
    from pgqueuer.queries import Queries

    queries = Queries(AsyncpgDriver(connection))
    present = await queries.has_table(queries.qbe.settings.queue_table)
    if needed and not present:
        await queries.install()
    elif needed:
        await queries.upgrade()
    elif present:
        await queries.uninstall()


async def _renew_restored_epoch(database_url: str) -> None:
    connection = await connect(database_url)
    try:
        await change_feed.renew_restored_epoch(connection)
    finally:
        await connection.close()
