"""Open the log files of the stack's processes, whatever became of them, and say when one cannot be written."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

_APPEND = os.O_WRONLY | os.O_APPEND | os.O_NONBLOCK | os.O_CLOEXEC
"""Without O_NONBLOCK, the open of a FIFO would wait for a reader."""


def open_log(path: Path) -> BinaryIO:
    """Open the log file `path` for appending. Raises OSError.

    Its folder is made again if it was removed. A folder, socket or FIFO in the file's place is renamed.
    """
    with suppress(FileExistsError):
        path.parent.mkdir(
            mode=0o700
        )  # not its parents: a stack whose ZMART_HOME was deleted does not bring it back
    try:
        number = os.open(path, _APPEND | os.O_CREAT, 0o666)
    except OSError:
        if not _is_in_the_way(path):
            raise
        set_aside(path)
        number = os.open(path, _APPEND | os.O_CREAT, 0o666)
    return os.fdopen(number, "ab")


def has_its_name(file: BinaryIO, path: Path) -> bool:
    """Return whether `path` still names the open file. It does not after that was removed or replaced."""
    ours = os.fstat(file.fileno())
    try:
        named = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:  # we may not look any more, but may still write to the open file
        return True
    return (named.st_dev, named.st_ino) == (ours.st_dev, ours.st_ino)


def set_aside(path: Path) -> None:
    """Rename what is at `path`, to make room for a log file. Raises OSError, also if the new name is in use."""
    aside = _name_aside(path)
    if os.path.lexists(aside):
        raise FileExistsError(f"{aside} exists")
    path.rename(aside)


def why_unwritable(path: Path) -> str:
    """Return a sentence if the process's lines cannot be appended to its log file `path`, else "". Nothing is changed.

    A missing file, or one that a folder stands in place of, is no reason: it will be made with the next line.
    """
    try:
        os.close(os.open(path, _APPEND))
    except FileNotFoundError:
        folder = path.resolve().parent  # of a symbolic link, the folder of what it names, which is not made
        is_made = not (folder.exists() or path.is_symlink())
        reason = "" if _accepts_files(folder.parent if is_made else folder) else _reason(folder)
    except OSError as problem:
        can_be_moved = not os.path.lexists(_name_aside(path)) and _accepts_files(path.parent)
        reason = "" if _is_in_the_way(path) and can_be_moved else problem.strerror or str(problem)
    else:
        return ""
    return reason and f"The log {path} cannot be written ({reason}): its lines are lost until it can."


def _is_in_the_way(path: Path) -> bool:
    """Return whether `path` is a folder, socket or FIFO, none of which an operator can mean as a log file."""
    return path.is_dir() or path.is_fifo() or path.is_socket()


def _name_aside(path: Path) -> Path:
    return path.with_name(f"{path.name}.not-a-log")


def _accepts_files(folder: Path) -> bool:
    return folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)


def _reason(folder: Path) -> str:
    return f"{folder} cannot be written" if folder.exists() else f"{folder} is missing"
