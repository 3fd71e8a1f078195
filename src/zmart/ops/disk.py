"""Recognize a full disk. /ready, the dashboard, `zmart ps` and `zmart doctor` report it in the same words."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

FULL_BELOW_BYTES = 48 * 1024**2
"""A disk with less free space counts as full: PostgreSQL, whose WAL files have 16 MiB, stops before the last byte."""


def full_disk(folder: Path) -> str:
    """Return a sentence if the disk of `folder` is full, else "". Raises OSError.

    For a folder that does not exist yet the disk of its nearest existing parent counts.
    """
    if free_bytes(folder) >= FULL_BELOW_BYTES:
        return ""
    return f"The disk of {folder.resolve()} is full: free some space. Nothing has to be restarted."


def free_bytes(folder: Path) -> int:
    """Return the free bytes on the disk of `folder`, or of its nearest existing parent. Raises OSError."""
    existing = next(path for path in (folder, *folder.resolve().parents) if os.path.exists(path))
    return shutil.disk_usage(existing).free
