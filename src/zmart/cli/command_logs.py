"""Set up the logs of a command, so that its standard output holds only its result."""

from __future__ import annotations

import logging
import sys

from zmart.hidden_packages import hidden

# With rich, structlog draws tracebacks with the values of all variables, which costs each process 0.1 s and 4 MB.
with hidden("rich"):
    import structlog


def configure_command() -> None:
    """Write warnings and errors to standard error, as readable text. `zmart run` later sets up a service's logs."""
    from zmart.ops.line_writer import LineWriter

    colors = sys.stderr is not None and sys.stderr.isatty()
    structlog.configure(
        processors=[structlog.processors.add_log_level, structlog.dev.ConsoleRenderer(colors=colors)],
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
        logger_factory=lambda *_: LineWriter(sys.stderr),
    )
