"""Keep temporary files of the tests in memory where there is room: they are deleted at the end and need no disk."""

from __future__ import annotations

import os
from pathlib import Path

MEMORY = Path("/dev/shm")
ROOM_BYTES = 4 * 2**30
"""Free bytes that the folder must have: many times the half GiB that a whole run keeps at once."""
_FOLDER_OF_PYTEST = "PYTEST_DEBUG_TEMPROOT"


def keep_in_memory() -> None:
    """Have pytest make its temporary folders in memory, unless PYTEST_DEBUG_TEMPROOT names a folder.

    Creating a database copies 560 files. On a disk that costs twice the processor time, and waits for other writers.
    """
    if _FOLDER_OF_PYTEST not in os.environ and _has_room(MEMORY):
        os.environ[_FOLDER_OF_PYTEST] = str(MEMORY)


def _has_room(folder: Path) -> bool:
    """Return whether `folder` exists, is writable, lets programs run (containers often forbid it), and has room."""
    if not os.access(folder, os.W_OK):
        return False
    found = os.statvfs(folder)
    return not found.f_flag & os.ST_NOEXEC and found.f_bavail * found.f_frsize >= ROOM_BYTES
