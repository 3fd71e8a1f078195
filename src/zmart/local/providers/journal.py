"""Store a small map in a file: each change is a line of JSON, appended and synced before the call returns."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Generic, TypeVar

import msgspec

from zmart.errors import StoreError
from zmart.local.state_files import sync_folder, write_state
from zmart.market.json_input import JSON_ERRORS

Value = TypeVar("Value")

_SPARE_LINES = 100


class _DiskMapLine(msgspec.Struct, array_like=True):
    """A change, as a line of the file. `value` is null if the key was dropped."""

    key: str
    value: msgspec.Raw


_lines = msgspec.json.Decoder(_DiskMapLine)


class DiskMap(Generic[Value]):
    """A map in `values`, which is restored from the file at `path`. Raises StoreError if the file is damaged.

    A last line without a line break was cut off by a crash before its change was acknowledged, and is removed. A change
    that cannot be written raises StoreError and leaves map and file as they were.
    """

    def __init__(self, path: Path, kind: type[Value]) -> None:
        self._path = path
        self.values: dict[str, Value] = {}
        self._decoder = msgspec.json.Decoder(kind)
        lines = self._read() if path.exists() else 0
        if lines > 2 * len(self.values) + _SPARE_LINES:
            self._rewrite()
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._end = os.fstat(self._file).st_size
        sync_folder(path.parent)

    def put(self, key: str, value: Value) -> None:
        """Set the value of a key, and write the change. Raises StoreError."""
        self._append(key, value)
        self.values[key] = value

    def drop(self, key: str) -> None:
        """Remove a key if it exists, and write the change. Raises StoreError."""
        self._append(key, None)
        self.values.pop(key, None)

    def close(self) -> None:
        """Close the map's file."""
        os.close(self._file)

    def _append(self, key: str, value: Value | None) -> None:
        line = _line(key, value)
        try:
            if os.write(self._file, line) != len(line):
                raise OSError("it was cut short")
            os.fsync(self._file)
        except OSError as problem:
            os.ftruncate(self._file, self._end)  # the next line would be unreadable after a part of this one
            raise StoreError(
                f"{self._path} could not be written ({problem.strerror or problem}): is the disk full?"
            ) from None
        self._end += len(line)

    def _read(self) -> int:
        content = self._path.read_bytes()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            os.truncate(self._path, whole)
        lines = content[:whole].splitlines()
        for number, line in enumerate(lines, 1):
            try:
                self._apply(_lines.decode(line))
            except JSON_ERRORS as problem:
                raise StoreError(f"{self._path} is damaged in line {number}: {problem}.") from None
        return len(lines)

    def _apply(self, line: _DiskMapLine) -> None:
        if line.value == msgspec.Raw(b"null"):
            self.values.pop(line.key, None)
        else:
            self.values[line.key] = self._decoder.decode(line.value)

    def _rewrite(self) -> None:
        write_state(self._path, b"".join(_line(key, value) for key, value in self.values.items()))


def _line(key: str, value: object) -> bytes:
    return msgspec.json.encode((key, value)) + b"\n"
