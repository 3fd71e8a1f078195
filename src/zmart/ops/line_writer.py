"""Write log lines to a stream, and ignore failures of the stream."""

from __future__ import annotations

from contextlib import suppress

import structlog


class LineWriter(structlog.WriteLogger):
    """Write each line with its line break in one call, so that lines of several threads are not mixed.

    A line is lost if the stream cannot take it: the disk is full, or the reader of a pipe has ended.
    """

    def msg(self, message: str) -> None:
        """Write one line. Ignores OSError and ValueError."""
        with suppress(OSError, ValueError):
            super().msg(message)

    log = debug = info = warn = warning = msg
    fatal = failure = err = error = critical = exception = msg
