"""Keep a backup as a folder: the dump, and a manifest that says what it holds and by which checksum it is whole.

A backup that is being written has another name, so a folder with a backup's name is complete.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from zmart.errors import ConfigError, StoreError
from zmart.market.json_input import JSON_ERRORS
from zmart.store.database_state import DatabaseState

DUMP, MANIFEST = "zmart.dump", "manifest.json"
_DRAFT = ".unfinished"
_FORMAT = 1
_CHUNK_BYTES = 1024**2


class BackupManifest(msgspec.Struct, frozen=True, kw_only=True):
    """What a backup holds. `state` is that of the snapshot which was dumped; `server_major` is PostgreSQL's version."""

    format: int = _FORMAT
    made_at: datetime
    version: str
    commit: str
    server_major: int
    schema: str
    dump_bytes: int
    dump_sha256: str
    state: DatabaseState


class DamagedBackup(StoreError):
    """Report a backup that is not what its manifest says."""


@contextmanager
def new_backup(folder: Path) -> Iterator[Path]:
    """Yield an empty draft in `folder`; one that a killed process left is removed. Raises ConfigError while another
    process writes there, StoreError if nothing can be written."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = (folder / f"{_DRAFT}.lock").open("w")
    except OSError as problem:
        raise StoreError(f"{folder} cannot be written ({problem.strerror}).") from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigError(f"Another backup is being written in {folder}: wait for it.") from None
        draft = folder / _DRAFT
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(mode=0o700)
        try:
            yield draft
        finally:
            shutil.rmtree(draft, ignore_errors=True)


def complete(draft: Path, manifest: BackupManifest) -> Path:
    """Write the manifest and give the draft its name, on disk when this returns. Raises StoreError."""
    beginning = f"zmart-{manifest.made_at.astimezone(UTC):%Y%m%dT%H%M%SZ}"
    names = [beginning, *(f"{beginning}-{number}" for number in range(2, 100))]
    path = next(draft.parent / name for name in names if not (draft.parent / name).exists())
    try:
        with (draft / MANIFEST).open("wb") as file:
            file.write(msgspec.json.format(msgspec.json.encode(manifest)) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        _sync(draft)
        draft.rename(path)
        _sync(path.parent)
    except OSError as problem:
        raise StoreError(f"{path} cannot be written ({problem.strerror}): is the disk full?") from None
    return path


def read_manifest(backup: Path) -> BackupManifest:
    """Read the manifest of a backup. Raises ConfigError for a folder that is none, DamagedBackup."""
    path = backup / MANIFEST
    try:
        manifest = msgspec.json.decode(path.read_bytes(), type=BackupManifest)
    except FileNotFoundError:
        raise ConfigError(f"{backup} is no backup: it holds no {MANIFEST}.") from None
    except (*JSON_ERRORS, OSError) as problem:
        raise DamagedBackup(f"{path} cannot be read ({problem}): use another backup.") from None
    if manifest.format != _FORMAT:
        raise ConfigError(f"{backup} has format {manifest.format}, which this release does not know.")
    return manifest


def require_whole(backup: Path, manifest: BackupManifest) -> None:
    """Raise DamagedBackup if the dump is not the one that was written."""
    try:
        size, digest = checksum(backup / DUMP)
    except OSError as problem:
        raise DamagedBackup(
            f"{backup / DUMP} cannot be read ({problem.strerror}): use another backup."
        ) from None
    if (size, digest) != (manifest.dump_bytes, manifest.dump_sha256):
        raise DamagedBackup(
            f"{backup / DUMP} is damaged: its checksum is not the manifest's. Use another backup."
        )


def checksum(path: Path) -> tuple[int, str]:
    """Return the size and the SHA-256 of a file."""
    digest, size = hashlib.sha256(), 0
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
            size += len(chunk)
    return size, digest.hexdigest()


def newest(folder: Path) -> Path:
    """Return the newest backup in a folder. Raises ConfigError if there is none."""
    backups = sorted(path.parent for path in folder.glob(f"zmart-*/{MANIFEST}"))
    if not backups:
        raise ConfigError(f"There is no backup in {folder}: make one with `zmart backup`.")
    return backups[-1]


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
