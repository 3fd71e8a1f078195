"""Configure structured logs: one JSON object per line, or readable colours on a terminal.

All output of a process has this form: lines of zmart and of libraries, Python's warnings, and uncaught exceptions. Only
the interpreter's own report of a crash (a segmentation fault) cannot be formatted. It goes into a file in
ZMART_HOME/run, and the next process of the service logs it.
"""

from __future__ import annotations

import asyncio
import faulthandler
import logging
import os
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import TextIO, cast

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from zmart.ops.line_writer import LineWriter
from zmart.services.workers.slot import worker_slot
from zmart.settings import Settings

log = structlog.get_logger()


def configure(settings: Settings, service: str) -> None:
    """Set up the logs of this process on standard output. Each line has the service's name, and a worker's number."""
    level = getattr(logging, settings.log_level.upper())
    shared = _shared_processors(service)
    render: list[Processor] = [structlog.processors.format_exc_info, _renderer(settings)]
    structlog.configure(
        processors=[structlog.contextvars.merge_contextvars, *shared, *render],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=lambda *_: LineWriter(sys.stdout),
        cache_logger_on_first_use=True,
    )
    _take_over_standard_logs([structlog.stdlib.add_logger_name, *shared], render)
    _take_over_exceptions()
    _keep_crashes(settings.zmart_home / "run", service)


def log_loop_errors(loop: asyncio.AbstractEventLoop) -> None:
    """Log the errors that the event loop reports: exceptions of callbacks, and of tasks that were never awaited."""

    def handle(_: asyncio.AbstractEventLoop, context: Mapping[str, object]) -> None:
        error = cast("BaseException | None", context.get("exception"))
        log.error("uncaught exception", where=context.get("message"), exc_info=error or False)

    loop.set_exception_handler(handle)


def shares_file_with(stream: TextIO) -> bool:
    """Return whether `stream` and standard output are the same file or pipe, and `stream` is no terminal."""
    with suppress(OSError, ValueError):
        ours, other = os.fstat(sys.stdout.fileno()), os.fstat(stream.fileno())
        return not stream.isatty() and (ours.st_dev, ours.st_ino) == (other.st_dev, other.st_ino)
    return False


def _shared_processors(service: str) -> list[Processor]:
    slot = worker_slot()
    process = {"service": service} if slot is None else {"service": service, "worker": slot.number}

    def add_service(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
        return {**process, **event}

    return [
        add_service,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]


def _renderer(settings: Settings) -> Processor:
    return structlog.processors.JSONRenderer() if settings.log_json else structlog.dev.ConsoleRenderer()


def _take_over_standard_logs(before: list[Processor], render: list[Processor]) -> None:
    """Format Python's warnings and the lines of libraries that use `logging` (PgQueuer, uvicorn, asyncio) like ours.

    Lines of libraries below the level WARNING are dropped.
    """
    remove_meta = structlog.stdlib.ProcessorFormatter.remove_processors_meta
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=before, processors=[remove_meta, *render]
    )
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(formatter)
    handler.handleError = lambda record: None  # type: ignore[method-assign]  # lost, as in LineWriter
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.captureWarnings(True)


def _take_over_exceptions() -> None:
    """Log uncaught exceptions of all threads, and "unraisable" ones, for example of finalizers (`__del__`)."""

    def ended(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if issubclass(kind, KeyboardInterrupt):
            sys.__excepthook__(kind, error, trace)
            return
        log.critical("uncaught exception", exc_info=(kind, error, trace))

    def thread_ended(args: threading.ExceptHookArgs) -> None:
        if args.exc_value is not None:
            name = args.thread.name if args.thread else ""
            log.error("uncaught exception", thread=name, exc_info=args.exc_value)

    def unraisable(args: sys.UnraisableHookArgs) -> None:
        where = f"{args.err_msg or 'Exception ignored in'} {args.object!r}"
        log.error("uncaught exception", where=where, exc_info=args.exc_value or False)

    sys.excepthook = ended
    threading.excepthook = thread_ended
    sys.unraisablehook = unraisable


_crash_file: TextIO | None = None
"""The file to which the interpreter writes at a crash; it stays open as long as the process runs."""


def _keep_crashes(folder: Path, service: str) -> None:
    """Log the crash report of an earlier process of this service, and write that of this process to a file in `folder`.

    Where that file cannot be opened (there is no local stack), a crash report goes to standard error.
    """
    global _crash_file
    slot = worker_slot()
    path = folder / (f"{service}.crash" if slot is None else f"{service}-{slot.number}.crash")
    try:
        _crash_file = path.open("a+", encoding="utf-8")
        _crash_file.seek(0)
        last = _crash_file.read().strip()
        _crash_file.truncate(0)
    except OSError:
        with suppress(OSError, ValueError):  # a test's standard error may be no file
            faulthandler.enable()
        return
    faulthandler.enable(_crash_file)
    if last:
        log.critical("an earlier process crashed", exception=last)
