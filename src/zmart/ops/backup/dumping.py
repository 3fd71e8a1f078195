"""Make a backup of a database, and check a backup by restoring it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from zmart.ops.backup import files
from zmart.ops.backup.files import BackupManifest, DamagedBackup
from zmart.ops.backup.programs import find_programs
from zmart.store import database_state
from zmart.store.database_state import DatabaseState
from zmart.store.scratch_database import scratch_database
from zmart.version import VERSION, commit

_PUBLICATION = re.compile(r"\d+; \d+ \d+ PUBLICATION TABLE \S+ (\S+) ")
_OF_THE_SCHEMA = re.compile(r"\d+; \d+ \d+ (?:SCHEMA - |(?:ACL|COMMENT) - SCHEMA )")


async def back_up(database_url: str, folder: Path, programs_in: Iterable[Path] = ()) -> Path:
    """Write a backup of the database into a new folder in `folder`, and return the path of the new folder.

    Dump and manifest describe the same snapshot, even if services write to the database meanwhile. pg_dump is looked
    for in `programs_in`, then on PATH and where distributions install it. Raises ConfigError, StoreError.
    """
    async with database_state.held_snapshot(database_url) as snapshot:
        programs = find_programs(snapshot.server_major, programs_in)
        with files.new_backup(folder) as draft:
            dump = draft / files.DUMP
            options = ["--format=custom", f"--schema={snapshot.schema}", f"--snapshot={snapshot.id}"]
            dumping = asyncio.create_task(programs.run("pg_dump", database_url, [*options, f"--file={dump}"]))
            try:
                state = await snapshot.state()
                await dumping
            finally:
                dumping.cancel()
                await asyncio.gather(dumping, return_exceptions=True)
            size, digest = await asyncio.to_thread(files.checksum, dump)
            manifest = BackupManifest(
                made_at=datetime.now(UTC),
                version=VERSION,
                commit=commit(),
                server_major=snapshot.server_major,
                schema=snapshot.schema,
                dump_bytes=size,
                dump_sha256=digest,
                state=state,
            )
            return files.complete(draft, manifest)


async def verify(
    database_url: str, backup: Path, programs_in: Iterable[Path] = (), into: str = ""
) -> BackupManifest:
    """Restore a backup into another database, compare that database with the manifest, and return the manifest.

    The other database is a temporary one on the server of `database_url`, which is dropped at the end; or the empty
    database whose address is `into`, which keeps the restored rows. Raises DamagedBackup if they differ, ConfigError,
    StoreError.
    """
    manifest = files.read_manifest(backup)
    files.require_whole(backup, manifest)
    async with _empty_database(database_url, into, manifest.schema) as url:
        await load(url, backup, programs_in, clean=False)
        require_equal(manifest.state, await database_state.read_state(url))
    return manifest


async def load(database_url: str, backup: Path, programs_in: Iterable[Path] = (), *, clean: bool) -> None:
    """Restore the dump of a backup in one transaction.

    With `clean`, pg_restore first drops the objects that have the same names as objects of the dump. Raises ConfigError
    and StoreError; the database is unchanged then.
    """
    programs = find_programs(await database_state.server_major(database_url), programs_in)
    dump = backup / files.DUMP
    known = await database_state.publications(database_url)
    with TemporaryDirectory(prefix="zmart-") as folder:
        chosen = Path(folder) / "contents"
        chosen.write_text("\n".join(selected(await programs.contents(dump), known)), encoding="utf-8")
        options = ["--no-owner", "--single-transaction", "--exit-on-error", f"--use-list={chosen}"]
        drop = ["--clean", "--if-exists"] if clean else []
        await programs.run("pg_restore", database_url, [*options, *drop, dump])


def selected(contents: Sequence[str], publications: frozenset[str]) -> list[str]:
    """Return the lines of a dump's table of contents that are restored; `publications` are those of the target.

    Left out are the schema itself, which the target has, and memberships of tables in publications that it lacks.
    """

    def is_restored(line: str) -> bool:
        published = _PUBLICATION.match(line)
        return not _OF_THE_SCHEMA.match(line) and (published is None or published[1] in publications)

    return [line for line in contents if is_restored(line)]


def require_equal(expected: DatabaseState, actual: DatabaseState) -> None:
    """Raise DamagedBackup, which names each difference, if two databases do not have the same state."""
    differences = [
        f"{name} is {_short(getattr(actual, name))}, not {_short(getattr(expected, name))}"
        for name in DatabaseState.__struct_fields__
        if name != "tables" and getattr(expected, name) != getattr(actual, name)
    ]
    differences += [
        f"the table {name} has other rows"
        for name in sorted(expected.tables.keys() | actual.tables.keys())
        if expected.tables.get(name) != actual.tables.get(name)
    ]
    if differences:
        raise DamagedBackup(
            f"The restored database is not the one that was dumped: {'; '.join(differences)}."
        )


def _short(value: object) -> str:
    return str(value)[:80]


@asynccontextmanager
async def _empty_database(database_url: str, into: str, schema: str) -> AsyncIterator[str]:
    if into:
        yield into
        return
    async with scratch_database(database_url, schema) as url:
        yield url
