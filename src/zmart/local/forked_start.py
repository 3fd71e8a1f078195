"""Start the Python programs of the stack as forks of supervisord, which imports their libraries once.

Each of the six services would need half a second of processor time for it, and they start together. Modules of ours are
left to each program: some define metrics, and a program exports only its own.
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
"""Those that supervisord handles."""
_ARG_START = 45
"""The index of the field among those behind the name in /proc/self/stat; the next one is their end. See proc(5)."""


def import_libraries() -> None:
    """Import what the programs share. What fails is left to the program that needs it, which says so in its log."""
    gc.disable()  # imports make no garbage
    with suppress(BaseException):
        import_module("typer.main")
    with hidden("rich"), hidden("opentelemetry"):  # as our own modules do
        for name in LIBRARIES:
            with suppress(BaseException):
                import_module(name)
    gc.freeze()  # the collector writes to no page that is shared from now on
    gc.enable()


class ForkedCommand(msgspec.Struct, frozen=True):
    """A program of this Python: `options` are those of start_program.py, `module` is followed by its arguments."""

    options: dict[str, str]
    module: list[str]

    @classmethod
    def of(cls, command: Sequence[str]) -> ForkedCommand | None:
        """Return what a supervised command runs; None if that is another program."""
        script = start_program.__file__
        if script not in command:
            return None
        options, program = start_program.parse(list(command[command.index(script) + 1 :]))
        return cls(options, program[2:]) if program[:2] == [sys.executable, "-m"] else None

    def run(self, environment: Mapping[str, str]) -> NoReturn:
        """Do in a fork what executing the command would do, and end the process."""
        status = 1
        try:
            os.environ.clear()
            os.environ.update(environment)
            for number in HANDLED:
                signal.signal(number, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.default_int_handler)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, HANDLED)  # blocked over the fork
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
    """End as the interpreter does, but for what belongs to supervisord; multiprocessing ends its forks alike."""
    threading._shutdown()  # type: ignore[attr-defined]  # also ends the threads of executors
    atexit._run_exitfuncs()
    with suppress(OSError, ValueError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(status)


def _show_as(command: Sequence[str]) -> None:
    """Let `ps` and `pgrep -f` show the command; it is written over supervisord's own, and cut to the length of that."""
    try:
        fields = Path("/proc/self/stat").read_text("ascii", "replace").rpartition(")")[2].split()
        start, end = map(int, fields[_ARG_START : _ARG_START + 2])
    except (OSError, ValueError):  # no Linux
        return
    if start:
        text = " ".join(command).encode()[: end - start - 2]
        # A last byte other than zero says that a process wrote its own title, which ends at the first zero.
        ctypes.memmove(start, text.ljust(end - start - 1, b"\0") + b".", end - start)
