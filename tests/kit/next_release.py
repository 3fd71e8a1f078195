"""A release that follows this one: the same code with one more migration, in a folder of its own."""

from __future__ import annotations

import shutil
from pathlib import Path

import zmart
from kit import commands
from zmart.store.migrations import HEAD, VERSIONS

REVISION = "9999"
ADDS = """
ALTER TABLE markets ADD COLUMN added_note text;
ALTER TABLE trades ADD COLUMN added_number bigint NOT NULL DEFAULT 7;
ALTER TABLE discussions ADD COLUMN added_number bigint NOT NULL DEFAULT 7;
ALTER TABLE intents ADD COLUMN added_note text;
ALTER TABLE inbox ADD COLUMN added_note text;
CREATE TABLE added (id bigint PRIMARY KEY, note text NOT NULL);
CREATE INDEX added_note ON markets (added_note);
"""
_REMOVES = """
DROP INDEX added_note; DROP TABLE added;
ALTER TABLE inbox DROP COLUMN added_note; ALTER TABLE intents DROP COLUMN added_note;
ALTER TABLE discussions DROP COLUMN added_number; ALTER TABLE trades DROP COLUMN added_number;
ALTER TABLE markets DROP COLUMN added_note;
"""
_SCRIPT = '''"""Add what the release after this one needs."""

from zmart.store.migrations import run_down, run_up

revision = "{revision}"
down_revision = "{before}"
oldest_code = "{oldest_code}"


def upgrade() -> None:
    run_up(revision)


def downgrade() -> None:
    run_down(revision)
'''


class NextRelease:
    """A copy of the package with the migration REVISION, which names `oldest_code` as the oldest code that works on it.

    `environment` returns the environment variables of a process that runs this copy.
    """

    def __init__(self, folder: Path, oldest_code: str = HEAD) -> None:
        package = folder / "zmart"
        shutil.copytree(
            Path(zmart.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__", ".commit")
        )
        versions = package / VERSIONS.relative_to(Path(zmart.__file__).parent)
        script = _SCRIPT.format(revision=REVISION, before=HEAD, oldest_code=oldest_code)
        (versions / f"{REVISION}_added.py").write_text(script)
        sql = versions / f"{REVISION}_added"
        sql.mkdir()
        (sql / "up.sql").write_text(ADDS)
        (sql / "down.sql").write_text(_REMOVES)
        self._path = str(folder)

    def environment(self, **settings: object) -> dict[str, str]:
        given = commands.environment(**settings)
        return {**given, "PYTHONPATH": self._path, "PYTHONSAFEPATH": "1"}

    async def migrate(self, database_url: str, *arguments: str) -> str:
        env = self.environment(database_url=database_url, zmart_home=self._path)
        status, out, error = await commands.run("migrate", *arguments, env=env)
        assert status == 0, out + error
        return out
