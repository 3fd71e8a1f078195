"""Set up the logs of a command: standard output is for its result alone."""

from __future__ import annotations

import logging
import sys

import structlog

from zmart.ops.line_writer import LineWriter


def configure_command() -> None:
    """Send warnings and errors to standard error, for a person. `zmart run` sets up those of a service instead."""
    structlog.configure(
        processors=[structlog.processors.add_log_level, structlog.dev.ConsoleRenderer()],
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
        logger_factory=lambda *_: LineWriter(sys.stderr),
    )
