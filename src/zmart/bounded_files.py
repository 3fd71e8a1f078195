"""Read a file that a person named, up to a size: a wrong name may be that of a device without end."""

from __future__ import annotations

import os
from errno import EFBIG
from pathlib import Path


def read_at_most(path: Path, max_bytes: int) -> bytes:
    """Return the whole file. Raises OSError, also for a file of more than `max_bytes`."""
    with path.open("rb") as file:
        content = file.read(max_bytes + 1)
    if len(content) > max_bytes:
        raise OSError(EFBIG, os.strerror(EFBIG), str(path))
    return content
