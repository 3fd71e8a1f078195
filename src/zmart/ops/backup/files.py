"""Store a backup as a folder with two files: the dump, and a manifest of its contents and its checksum.

While a backup is being written its folder is called `.unfinished`. A folder `zmart-<time>` is therefore complete.
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
    """Describe a backup: `state` is the content of the dumped snapshot, `server_major` PostgreSQL's major version,
    `version` and `commit` name the release that made the backup, and `dump_sha256` is in hexadecimal digits."""

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
    """Report a backup whose dump or restored rows differ from its manifest, or whose files cannot be read."""


@contextmanager
def new_backup(folder: Path) -> Iterator[Path]:
    """Yield an empty folder in `folder` for a backup's files, and remove it after the block unless it was renamed.

    The unfinished backup of a killed process is removed first. Raises ConfigError while another process writes a backup
    in `folder`, StoreError if `folder` cannot be written.
    """
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
        try:
            _remove(draft)
            draft.mkdir(mode=0o700)
        except OSError as problem:
            raise StoreError(f"{draft} cannot be removed and made again ({problem.strerror}).") from None
        try:
            yield draft
        finally:
            shutil.rmtree(draft, ignore_errors=True)


def _remove(path: Path) -> None:
    """Remove a folder with its content, or a file. Raises OSError."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def complete(draft: Path, manifest: BackupManifest) -> Path:
    """Write the manifest, rename the draft to `zmart-<UTC time>`, and return the new path.

    Manifest and new name are on the disk when this function returns. Raises StoreError.
    """
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
    """Read the manifest of a backup.

    Raises ConfigError for a folder without a manifest or with an unknown format, DamagedBackup for an unreadable one.
    """
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
    """Raise DamagedBackup if the dump cannot be read, or its size or checksum differs from the manifest's."""
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
    """Return the size in bytes and the SHA-256 (hexadecimal digits) of a file. Raises OSError."""
    digest, size = hashlib.sha256(), 0
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
            size += len(chunk)
    return size, digest.hexdigest()


def newest(folder: Path) -> Path:
    """Return the path of the newest backup in a folder, by name. Raises ConfigError if there is none."""
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
