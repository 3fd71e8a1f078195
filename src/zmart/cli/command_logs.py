"""Set up the logs of a command: standard output is for its result alone."""

from __future__ import annotations

import logging
import sys

from zmart.hidden_packages import hidden

# With it structlog draws tracebacks, with the values of all variables: 0.1 s and 4 MB of each process.
with hidden("rich"):
    import structlog


def configure_command() -> None:
    """Send warnings and errors to standard error, for a person. `zmart run` sets up those of a service instead."""
    from zmart.ops.line_writer import LineWriter

    colors = sys.stderr is not None and sys.stderr.isatty()
    structlog.configure(
        processors=[structlog.processors.add_log_level, structlog.dev.ConsoleRenderer(colors=colors)],
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
        logger_factory=lambda *_: LineWriter(sys.stderr),
    )
