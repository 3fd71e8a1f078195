"""Numbered migrations, each two files of plain SQL: up and down. Alembic keeps the order."""

from __future__ import annotations

from pathlib import Path

VERSIONS = Path(__file__).parent / "versions"
HEAD = sorted(VERSIONS.glob("*.up.sql"))[-1].name.split("_")[0]
"""The newest revision, read from the files so that asking for it costs no import of Alembic."""


def run_script(name: str) -> None:
    """Run a file of many statements on the migration's own connection, inside its transaction."""
    from alembic import op
    from sqlalchemy import text

    script = (VERSIONS / name).read_text()
    bind = op.get_bind()
    bind.execute(text("SELECT 1"))  # opens the transaction that the script must be part of
    connection = bind.connection.dbapi_connection
    assert connection is not None
    connection.run_async(lambda driver: driver.execute(script))
