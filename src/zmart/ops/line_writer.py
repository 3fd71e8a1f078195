"""Write log lines to a stream that may take none."""

from __future__ import annotations

from contextlib import suppress

import structlog


class LineWriter(structlog.WriteLogger):
    """Write each line in one call, so that nothing comes between it and its end; what the stream does not take (a full
    disk, a reader that has ended) is lost."""

    def msg(self, message: str) -> None:
        """Write a line."""
        with suppress(OSError, ValueError):
            super().msg(message)

    log = debug = info = warn = warning = msg
    fatal = failure = err = error = critical = exception = msg
