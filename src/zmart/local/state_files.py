"""Read and write small state files of ZMART_HOME. A file is written whole or not at all, and refused if damaged."""

from __future__ import annotations

import os
import re
import secrets
from pathlib import Path

from zmart.errors import ConfigError, StoreError

_RANDOM = "[A-Za-z0-9_-]{32}"  # 24 bytes


class DamagedState(ConfigError):
    """Report a state file that is truncated, empty, unreadable, or missing although it must exist."""


def write_state(path: Path, content: str | bytes) -> None:
    """Write a file that only this user may read, whole or not at all. Raises StoreError.

    When this function returns, the file survives a crash of the machine.
    """
    write_synced(path, content)
    sync_folder(path.parent)


def write_synced(path: Path, content: str | bytes) -> None:
    """Write a file like `write_state`; it survives a crash only after `sync_folder`, which serves many files at once.

    Raises StoreError.
    """
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
    """Return the text of a state file; None if the file does not exist.

    Raises DamagedState, with `advice` in its message, if the file cannot be read or its whole text does not match the
    regular expression `pattern`.
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
    """Return the random token of 32 characters in the file `path`, which is created if it is missing and `may_make`.

    Raises DamagedState, with `advice`, if the file is damaged, or is missing and may not be created. Raises StoreError.
    """
    token = read_state(path, _RANDOM, advice)
    if token is None and not may_make:
        raise DamagedState(f"{path} is missing: {advice}")
    if token is None:
        token = secrets.token_urlsafe(24)
        write_state(path, token)
    return token


def sync_folder(folder: Path) -> None:
    """Sync a folder to the disk: the names of new files in it survive a crash only after that."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
