"""Write the messages of a command that supervises processes, and go on when the output cannot take them."""

from __future__ import annotations

import io
import os
from contextlib import suppress
from typing import TextIO, cast

from rich.console import Console


class LossyStream(io.TextIOBase):
    """Write to the file of `stream` without a buffer. What the file cannot take is lost: a full disk, an ended reader.

    A buffer would keep the lost text, and end the process with an error at its exit.
    """

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self._stream = stream
        self._descriptor: int | None = None
        with suppress(OSError, ValueError):
            stream.flush()
            self._descriptor = stream.fileno()
        self.error: OSError | None = None
        """The first error of a write."""

    def write(self, text: str) -> int:
        """Write a text, and return its length. Ignores OSError."""
        try:
            self._write(text)
        except OSError as problem:
            self.error = self.error or problem
        return len(text)

    def _write(self, text: str) -> None:
        if self._descriptor is None:
            self._stream.write(text)
            return
        rest = memoryview(text.encode(self.encoding, "replace"))
        while rest:
            rest = rest[os.write(self._descriptor, rest) :]

    def flush(self) -> None:
        """Flush the stream if it has no file. Ignores OSError."""
        if self._descriptor is None:
            with suppress(OSError):
                self._stream.flush()

    def isatty(self) -> bool:
        """Return whether the stream is a terminal."""
        return self._stream.isatty()

    def fileno(self) -> int:
        """Return the descriptor of the stream's file. Raises OSError if it has none."""
        return self._stream.fileno()

    @property
    def encoding(self) -> str:  # type: ignore[override]  # a plain attribute there
        """Return the encoding of the stream."""
        return self._stream.encoding or "utf-8"


def plain_console(stream: TextIO | LossyStream) -> Console:
    """Return a console that prints texts as they are: an address or a path may hold what rich reads as a style."""
    return Console(file=cast(TextIO, stream), highlight=False, markup=False, emoji=False, soft_wrap=True)
