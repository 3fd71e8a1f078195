"""Write a file that an argument of a command names."""

from __future__ import annotations

from pathlib import Path


def write_file(path: Path, content: bytes) -> None:
    """Write `content` to the file, and replace an existing one. Raises Invalid if it cannot be written."""
    from zmart.errors import Invalid

    try:
        path.write_bytes(content)
    except OSError as problem:
        raise Invalid("file", f"{path} cannot be written ({problem.strerror}).") from None
