"""Read and write small state files of ZMART_HOME: written whole or not at all, refused if damaged."""

from __future__ import annotations

import os
import re
import secrets
from pathlib import Path

from zmart.errors import ConfigError, StoreError

_RANDOM = "[A-Za-z0-9_-]{32}"  # 24 bytes


class DamagedState(ConfigError):
    """Report a state file that exists but is truncated, empty, or unreadable."""


def write_state(path: Path, content: str | bytes) -> None:
    """Write a file for us alone, whole or not at all, and on disk before this returns. Raises StoreError."""
    write_synced(path, content)
    sync_folder(path.parent)


def write_synced(path: Path, content: str | bytes) -> None:
    """Write like `write_state`, but the new name is on disk only after `sync_folder`: for many files at once."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except OSError as problem:
        draft.unlink(missing_ok=True)
        raise StoreError(f"{path} cannot be written ({problem.strerror}): is the disk full?") from None


def read_state(path: Path, pattern: str, advice: str) -> str | None:
    """Return the file's text, or None if it does not exist.

    Raises DamagedState with `advice` for text that does not match `pattern` from end to end.
    """
    try:
        text = path.read_bytes().decode("ascii").strip()
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as problem:
        raise DamagedState(f"{path} cannot be read ({problem}): {advice}") from None
    if not re.fullmatch(pattern, text):
        raise DamagedState(f"{path} is {'damaged' if text else 'empty'}: {advice}")
    return text


def token_in(path: Path, *, may_make: bool, advice: str) -> str:
    """Return a random token of 32 characters, created once and stored in `path`.

    Raises DamagedState if it is damaged, or missing although it must exist.
    """
    token = read_state(path, _RANDOM, advice)
    if token is None and not may_make:
        raise DamagedState(f"{path} is missing: {advice}")
    if token is None:
        token = secrets.token_urlsafe(24)
        write_state(path, token)
    return token


def sync_folder(folder: Path) -> None:
    """Sync a folder: names of files survive a crash only after that."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
