"""Start the Python programs of the stack as forks of supervisord, which imports their libraries once.

Otherwise each of the six services would spend half a second of processor time on these imports, all at the same time.
Modules of zmart are not imported in supervisord: some define metrics, and a program must export only its own.
"""

from __future__ import annotations

import atexit
import ctypes
import gc
import os
import runpy
import signal
import sys
import threading
import traceback
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import NoReturn

import msgspec

from zmart.hidden_packages import hidden
from zmart.local import start_program

LIBRARIES = (
    *("asyncpg", "pgqueuer", "redis.asyncio", "hiredis", "solders.solders", "base58", "pydantic_settings"),
    *("structlog", "prometheus_client.parser", "stamina", "httpx", "anyio", "uvloop", "litestar", "jinja2"),
    *("uvicorn.lifespan.off", "uvicorn.protocols.http.httptools_impl"),
    *("websockets.asyncio.client", "websockets.asyncio.server"),
)
HANDLED = tuple(signal.Signals[f"SIG{name}"] for name in ("INT", "TERM", "QUIT", "HUP", "CHLD", "USR2"))
"""The signals for which supervisord installs handlers."""
_ARG_START = 45
"""Index of arg_start among the fields after the command's name in /proc/self/stat; arg_end follows. See proc(5)."""


def import_libraries() -> None:
    """Import the libraries that the programs share. Errors are ignored: the program that needs a library reports it."""
    gc.disable()  # imports make no garbage
    with suppress(BaseException):
        import_module("typer.main")
    with hidden("rich"), hidden("opentelemetry"):  # as zmart's own modules import these libraries
        for name in LIBRARIES:
            with suppress(BaseException):
                import_module(name)
    gc.freeze()  # so that garbage collection in the forks does not write to the shared pages
    gc.enable()


class ForkedCommand(msgspec.Struct, frozen=True):
    """A command that runs a module of this Python by start_program.py.

    `options` are the options of start_program.py; `module` holds the module's name and its arguments.
    """

    options: dict[str, str]
    module: list[str]

    @classmethod
    def of(cls, command: Sequence[str]) -> ForkedCommand | None:
        """Parse the command of a supervised program; None if it is not a module that this Python runs."""
        script = start_program.__file__
        if script not in command:
            return None
        options, program = start_program.parse(list(command[command.index(script) + 1 :]))
        return cls(options, program[2:]) if program[:2] == [sys.executable, "-m"] else None

    def run(self, environment: Mapping[str, str]) -> NoReturn:
        """Run the module in this process, a fork of supervisord, as the command would do, and end the process."""
        status = 1
        try:
            os.environ.clear()
            os.environ.update(environment)
            for number in HANDLED:
                signal.signal(number, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.default_int_handler)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, HANDLED)  # they were blocked before the fork
            start_program.apply(self.options)
            _show_as([sys.executable, "-m", *self.module])
            sys.argv = list(self.module)
            runpy.run_module(self.module[0], run_name="__main__", alter_sys=True)
            status = 0
        except SystemExit as end:
            status = _status(end)
        except BaseException:
            traceback.print_exc()
        finally:
            _end(status)


def _status(end: SystemExit) -> int:
    if isinstance(end.code, int) or end.code is None:
        return end.code or 0
    print(end.code, file=sys.stderr)
    return 1


def _end(status: int) -> NoReturn:
    """End the process as the interpreter does, with its threads and exit functions, but do not finalize all objects.

    Some objects belong to supervisord. multiprocessing ends its forks in the same way.
    """
    threading._shutdown()  # type: ignore[attr-defined]  # also ends the threads of executors
    atexit._run_exitfuncs()
    with suppress(OSError, ValueError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(status)


def _show_as(command: Sequence[str]) -> None:
    """Let `ps` and `pgrep -f` show this command: write it over supervisord's, cut to the length of that."""
    try:
        fields = Path("/proc/self/stat").read_text("ascii", "replace").rpartition(")")[2].split()
        start, end = map(int, fields[_ARG_START : _ARG_START + 2])
    except (OSError, ValueError):  # this is not Linux
        return
    if start:
        text = " ".join(command).encode()[: end - start - 2]
        # If the last byte is not zero, the kernel takes the text for a title that the process wrote, up to a zero.
        ctypes.memmove(start, text.ljust(end - start - 1, b"\0") + b".", end - start)
