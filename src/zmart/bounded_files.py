"""Read a file whose name a user gave, up to a limit: the name may be that of a device that never ends."""

from __future__ import annotations

import os
from errno import EFBIG
from pathlib import Path


def read_at_most(path: Path, max_bytes: int) -> bytes:
    """Return the content of a file of at most `max_bytes` bytes.

    Raises OSError if the file cannot be read, with errno EFBIG if it is larger.
    """
    with path.open("rb") as file:
        content = file.read(max_bytes + 1)
    if len(content) > max_bytes:
        raise OSError(EFBIG, os.strerror(EFBIG), str(path))
    return content
