"""Restore a backup into the database of DATABASE_URL. After a failure or a crash it can simply be run again.

First the schema is migrated to the backup's revision, so that the dump replaces all of its tables. Then the dump is
loaded in one transaction and compared with its manifest. At last the schema is migrated to the newest revision, which
also begins a new epoch of the change feed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec

from zmart.errors import ConfigError
from zmart.ops.backup import dumping, files
from zmart.ops.backup.files import BackupManifest
from zmart.store import database_state, migrate, service_status
from zmart.store.migrate import SchemaStatus
from zmart.store.migrations import REVISIONS, fingerprint
from zmart.store.pool import Pool

_REPORTING_WITHIN_S = 15.0
"""A service whose last report is older than this counts as stopped; services report every 5 s."""


class RestoreReport(msgspec.Struct, frozen=True, kw_only=True):
    """The result of a restoration. `manifest` is the restored backup's, `feed_epoch` the new epoch of the change feed.

    `replaced` is the path of a backup of the former content; None if the database was empty or none was wanted.
    """

    manifest: BackupManifest
    replaced: Path | None
    schema: SchemaStatus
    feed_epoch: str


def restore(
    database_url: str,
    backup: Path,
    keep_in: Path | None,
    programs_in: Iterable[Path] = (),
    say: Callable[[str], None] = lambda sentence: None,
    stop_services: Callable[[], None] = lambda: None,
    before_change: Callable[[], None] = lambda: None,
) -> RestoreReport:
    """Replace the content of the database by a backup. Blocks, so never call it in a running event loop.

    The present content is first backed up in the folder `keep_in`, unless that is None or the database is empty. `say`
    gets a sentence at the start of each step. `stop_services` is called once the backup is known to be whole, and
    `before_change` before the first change of the database. Raises ConfigError, StoreError, DamagedBackup.
    """
    programs_in = list(programs_in)
    manifest = files.read_manifest(backup)
    say("Checking the backup ...")
    files.require_whole(backup, manifest)
    require_known(manifest)
    before = asyncio.run(migrate.status(database_url))
    if before.problem is not None:
        raise ConfigError(f"{before.problem} A backup can be restored into an empty one, too.")
    replaced = None
    stop_services()
    if before.current is not None:
        asyncio.run(require_no_services(database_url))
        if keep_in is not None:
            say("Backing up what is there ...")
            replaced = asyncio.run(dumping.back_up(database_url, keep_in, programs_in))
    before_change()
    if before.current is not None:
        bring_to(database_url, before, manifest.state.revision)
    say(f"Restoring {manifest.state.rows:,} rows ...")
    asyncio.run(dumping.load(database_url, backup, programs_in, clean=True))
    say("Comparing them with the manifest ...")
    dumping.require_equal(manifest.state, asyncio.run(database_state.read_state(database_url)))
    schema = migrate.upgrade(database_url)
    after = asyncio.run(database_state.feed_epoch(database_url))
    return RestoreReport(manifest=manifest, replaced=replaced, schema=schema, feed_epoch=after)


def require_known(manifest: BackupManifest) -> None:
    """Raise ConfigError if this release's migrations do not lead to the schema of the backup."""
    state = manifest.state
    known = REVISIONS[: REVISIONS.index(state.revision) + 1] if state.revision in REVISIONS else ()
    if state.fingerprints != {revision: fingerprint(revision) for revision in known}:
        raise ConfigError(
            f"This backup was made by version {manifest.version} (commit {manifest.commit}) and has the schema "
            f"{state.revision}, which this release does not know: restore it with that release."
        )


async def require_no_services(database_url: str) -> None:
    """Raise ConfigError if a service reported in the last 15 s: its writes would be lost or mixed with the backup."""
    pool = await Pool.open(database_url, size=1)
    try:
        statuses = await service_status.all_statuses(pool)
    finally:
        await pool.close()
    running = [status for status in statuses if status.age_s < _REPORTING_WITHIN_S]
    if running:
        names = ", ".join(f"{status.service} ({status.instance})" for status in running)
        raise ConfigError(
            f"Services work in this database: {names}. Stop all of them; one that was killed counts as running for "
            f"{_REPORTING_WITHIN_S:.0f} s."
        )


def bring_to(database_url: str, schema: SchemaStatus, revision: str) -> None:
    """Migrate the database up or down to `revision`. Blocks. Raises StoreError."""
    assert schema.current is not None
    if schema.current > revision:
        migrate.rollback(database_url, revision)
    elif schema.current < revision:
        migrate.upgrade(database_url, revision)
