"""Small files of ZMART_HOME that decide something: written whole or not at all, never believed when they are torn."""

from __future__ import annotations

import os
import re
import secrets
from pathlib import Path

from zmart.errors import ConfigError, StoreError

_RANDOM = "[A-Za-z0-9_-]{32}"  # 24 bytes


class DamagedState(ConfigError):
    """A state file is there, and what it said cannot be known: it is torn, empty, or cannot be read."""


def write_state(path: Path, content: str | bytes) -> None:
    """For us alone, whole or not at all, and on disk before this returns, whatever ends the machine. Raises
    StoreError."""
    write_synced(path, content)
    sync_folder(path.parent)


def write_synced(path: Path, content: str | bytes) -> None:
    """The same, but the new name is on disk only after `sync_folder`: for many files at once."""
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
    """What the file says, None if there is no such file. Raises DamagedState with `advice` for anything that does not
    match `pattern` from end to end."""
    try:
        text = path.read_bytes().decode("ascii").strip()
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as problem:
        raise DamagedState(f"{path} cannot be read ({problem}): {advice}") from None
    if not re.fullmatch(pattern, text):
        raise DamagedState(f"{path} is {'torn' if text else 'empty'}: {advice}")
    return text


def token_in(path: Path, *, may_make: bool, advice: str) -> str:
    """A random token of 32 characters, made once and kept in `path`. Raises DamagedState when it is not there although
    it was made before, or is not whole."""
    token = read_state(path, _RANDOM, advice)
    if token is None and not may_make:
        raise DamagedState(f"{path} is missing: {advice}")
    if token is None:
        token = secrets.token_urlsafe(24)
        write_state(path, token)
    return token


def sync_folder(folder: Path) -> None:
    """Names of files survive a crash only once their folder is synced."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
