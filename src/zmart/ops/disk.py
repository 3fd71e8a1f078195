"""Recognize a full disk, in the same words wherever it is reported: /ready, the dashboard, `zmart ps`, the doctor."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

FULL_BELOW_BYTES = 48 * 1024**2
"""PostgreSQL's log grows by files of 16 MiB: it stops before nothing at all is left."""


def full_disk(folder: Path) -> str:
    """Return a sentence if the disk of `folder` is full, or "". A folder that does not exist yet is on its parent's."""
    if free_bytes(folder) >= FULL_BELOW_BYTES:
        return ""
    return f"The disk of {folder.resolve()} is full: free some space. Nothing has to be restarted."


def free_bytes(folder: Path) -> int:
    """Return what the disk of `folder` can still take."""
    existing = next(path for path in (folder, *folder.resolve().parents) if os.path.exists(path))
    return shutil.disk_usage(existing).free
