"""Run numbered migrations. Each is a folder of plain SQL: `*up.sql` files in the order of their names, and `down.sql`.

Alembic runs them in order. A released migration never changes: the fingerprint of its SQL is written into the database
that it creates (table schema_migrations), and a test compares it with a recorded value.

Each migration declares `oldest_code`: the oldest revision whose code works on the schema that the migration makes. The
comment of Alembic's table stores it with the revision, for code that does not know the migration.
"""

from __future__ import annotations

import hashlib
import re
from importlib import import_module
from pathlib import Path

VERSIONS = Path(__file__).parent / "versions"
REVISIONS = tuple(sorted(folder.name.partition("_")[0] for folder in VERSIONS.glob("[0-9]*_*/")))
"""All revisions, the oldest first. They are read from the names of the folders, so Alembic need not be imported."""

HEAD = REVISIONS[-1]

LOCK_WITHIN_S = 1
"""Seconds for which a statement of a migration waits for a lock. The limit is short, because other sessions that need
the table wait behind it."""

_LIMIT = f"SET LOCAL lock_timeout = '{LOCK_WITHIN_S}s'"
_MARK = "COMMENT ON TABLE alembic_version IS 'revision {}: code from {} on works'"
_MARKED = re.compile(r"revision (\w+): code from (\w+) on works")
_NO_SCHEMA = "The database of DATABASE_URL has no schema of ours: run `zmart migrate up`."
UNKNOWN_REVISION = (
    "This database has revision {}, which this version does not know: install the version that created it."
)
_OTHER_SCHEMA = (
    "The schema in DATABASE_URL has revision {}, and this version needs {}: run `zmart migrate up`."
)

_RECORD = "INSERT INTO schema_migrations (revision, fingerprint) VALUES ('{}', '{}')"
_FORGET = """
DO $$ BEGIN
    IF to_regclass('schema_migrations') IS NOT NULL THEN DELETE FROM schema_migrations WHERE revision = '{}'; END IF;
END $$
"""


def mismatch(current: str | None) -> str | None:
    """Return a sentence that says why this version does not fit a database with revision `current`. `current` is
    None for a database without our schema. Returns None if the revision is HEAD."""
    if current is None:
        return _NO_SCHEMA
    if current not in REVISIONS:
        return UNKNOWN_REVISION.format(current)
    return None if current == HEAD else _OTHER_SCHEMA.format(current, HEAD)


def oldest_code(revision: str) -> str:
    """Return the oldest revision whose code works on the schema of `revision`. It is the highest `oldest_code` that
    a migration up to `revision` declares."""
    return max(_declared(each) for each in REVISIONS[: REVISIONS.index(revision) + 1])


def oldest_code_in(comment: str | None, revision: str) -> str | None:
    """Return the oldest revision whose code works on `revision`, read from the comment of Alembic's table. Returns
    None if the comment is not about `revision`."""
    marked = _MARKED.fullmatch(comment or "")
    return marked[2] if marked is not None and marked[1] == revision else None


def up_sql(revision: str) -> str:
    """Return the SQL of the migration `revision`, with Unix line ends."""
    return "\n".join(path.read_text(encoding="utf-8") for path in sorted(_folder(revision).glob("*up.sql")))


def fingerprint(revision: str) -> str:
    """Return the SHA-256 of the migration's `up_sql` in hex."""
    return hashlib.sha256(up_sql(revision).encode()).hexdigest()


def run_up(revision: str) -> None:
    """Run the migration in Alembic's transaction, and record its fingerprint and the oldest code that works on it."""
    _execute(_LIMIT)
    _execute(up_sql(revision))
    _execute(_RECORD.format(revision, fingerprint(revision)))
    _execute(_MARK.format(revision, oldest_code(revision)))


def run_down(revision: str) -> None:
    """Revert the migration in Alembic's transaction, and delete the record of its fingerprint."""
    _execute(_LIMIT)
    _execute((_folder(revision) / "down.sql").read_text(encoding="utf-8"))
    _execute(_FORGET.format(revision))
    if revision != REVISIONS[0]:
        before = REVISIONS[REVISIONS.index(revision) - 1]
        _execute(_MARK.format(before, oldest_code(before)))


def _declared(revision: str) -> str:
    declared: str = import_module(f"{__name__}.versions.{_folder(revision).name}").oldest_code
    return declared


def _folder(revision: str) -> Path:
    (folder,) = VERSIONS.glob(f"{revision}_*/")
    return folder


def _execute(script: str) -> None:
    """Execute a script of several statements on Alembic's connection and in its transaction."""
    from alembic import op
    from sqlalchemy import text

    bind = op.get_bind()
    bind.execute(text("SELECT 1"))  # opens the transaction that the script must be part of
    connection = bind.connection.dbapi_connection
    assert connection is not None
    connection.run_async(lambda driver: driver.execute(script))
