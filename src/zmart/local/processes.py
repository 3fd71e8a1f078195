"""Start the programs of the local stack, wait for them, and stop them; choose their ports and folders."""

from __future__ import annotations

import atexit
import contextlib
import math
import os
import pwd
import re
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from enum import StrEnum
from errno import EACCES, EDQUOT, ENOSPC
from pathlib import Path

from zmart.errors import SettingError, StoreError, ZmartError

POLL_SECONDS = 0.01
_FATAL = re.compile(r"^[^{]*\b(FATAL|PANIC): +(?! |the database system is )")
"""A line of PostgreSQL's log about a fatal error, but not one that refuses a client while the server starts or ends."""


class RunAs(StrEnum):
    """The user of a program: the present one, the present one called nobody in a user namespace, or nobody."""

    SELF = "self"
    NAMESPACE = "namespace"
    NOBODY = "nobody"


class StartError(ZmartError):
    """Report that a program of the local stack did not start. The message contains its last output, if there is any."""


def start_command(
    command: Sequence[object],
    run_as: RunAs = RunAs.SELF,
    die_with_parent: signal.Signals | None = None,
    parent: int | None = None,
) -> list[str]:
    """Return `command`, wrapped with start_program.py if it is to run as another user or end with its parent.

    The program gets the signal `die_with_parent` when its parent ends. With the pid `parent` it also notices that the
    parent ended before the program could ask the kernel for that signal.
    """
    options: list[str] = [] if run_as is RunAs.SELF else ["--as", run_as.value]
    if die_with_parent is not None:
        options += ["--die-with-parent", str(int(die_with_parent))]
    if parent is not None:
        options += ["--parent", str(parent)]
    if not options:
        return [str(part) for part in command]
    script = Path(__file__).with_name("start_program.py")
    return [sys.executable, "-I", "-S", str(script), *options, "--", *map(str, command)]


FIRST_PORT, LAST_PORT = 20_000, 32_000
"""The range of ports from which `free_port` chooses.

It is below the kernel's range for outgoing connections, so that none of these takes a port between its choice and its
use. It is wide enough that two stacks that start together hardly choose the same port.
"""


RESERVED_S = 60.0
_reservations: deque[tuple[float, socket.socket]] = deque()


def free_port() -> int:
    """Return a random TCP port of 127.0.0.1 that is free now.

    On Linux no other call, in any process, returns the same port for a minute, or until this process ends: a server may
    take that long to listen on it.
    """
    while True:
        port = FIRST_PORT + secrets.randbelow(LAST_PORT - FIRST_PORT)
        if port_is_free(port) and _reserve(port):
            return port


def _reserve(port: int) -> bool:
    """Reserve a port with an abstract socket, which Linux frees when this process ends; False if it is reserved."""
    _release(time.monotonic() - RESERVED_S)
    reservation = socket.socket(socket.AF_UNIX)
    try:
        reservation.bind(f"\0zmart-port-{port}")
    except OSError:
        reservation.close()
        return sys.platform != "linux"
    _reservations.append((time.monotonic(), reservation))
    return True


def _release(before_s: float) -> None:
    while _reservations and _reservations[0][0] < before_s:
        _reservations.popleft()[1].close()


atexit.register(_release, math.inf)


def port_is_free(port: int) -> bool:
    """Return whether a server could listen on `port` of 127.0.0.1 now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return True
        return False


def wait_until(
    condition: Callable[[], bool],
    what: str,
    seconds: float,
    process: subprocess.Popen[bytes] | None = None,
    log: Path | None = None,
) -> None:
    """Wait until `condition` returns True; `what` names the program in messages.

    Raises StartError, with the last line of `log`, if `process` ends or `seconds` have passed before that.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        if process is not None and process.poll() is not None:
            raise StartError(f"{what} ended at its start (exit code {process.returncode}): {last_line(log)}")
        if time.monotonic() > deadline:
            raise StartError(f"{what} was not ready after {seconds:.0f} s: {last_line(log)}")
        time.sleep(POLL_SECONDS)


def last_line(log: Path | None, otherwise: str = "", before: int = 0) -> str:
    """Return the last line of a program's log, for an error message; PostgreSQL's last fatal error takes precedence.

    The first `before` bytes of the log are skipped: earlier starts wrote them. Returns `otherwise`, or "no output", if
    there is no line.
    """
    written = b""
    with contextlib.suppress(OSError):
        written = log.read_bytes() if log is not None and log.is_file() else b""
    lines = written[before if len(written) >= before else 0 :].decode("utf-8", "replace").split("\n")
    outputs = [line.strip(" \t|+-│╭╮╰╯─") for line in reversed(lines)]  # without the frames around tracebacks
    fatal = (line for line in outputs if _FATAL.search(line))
    return next(fatal, "") or next((line for line in outputs if line), otherwise or "no output")


def stop(process: subprocess.Popen[bytes], how: signal.Signals, seconds: float = 10.0) -> None:
    """End a child process with the signal `how`, and with SIGKILL if it has not ended after `seconds`."""
    if process.poll() is not None:
        return
    process.send_signal(how)
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def has_name(uid: int) -> bool:
    """Return whether the system has a name for the user number `uid`. A container may run with a number without one."""
    try:
        pwd.getpwuid(uid)
    except KeyError:
        return False
    return True


def private_folder(path: Path) -> Path:
    """Create the folder `path`, with access for this user alone, if it is missing; return `path`.

    Raises SettingError if this user cannot create or write it, StoreError if the disk is full.
    """
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not os.access(path, os.R_OK | os.W_OK | os.X_OK):
            raise PermissionError(EACCES, os.strerror(EACCES))
    except OSError as problem:
        sentence = f"The folder {path} cannot be made or written ({problem.strerror})"
        if problem.errno in (ENOSPC, EDQUOT):
            raise StoreError(f"{sentence}: free some space.") from None
        raise SettingError(f"{sentence}: set ZMART_HOME to a folder that can.") from None
    return path


def require_readable(home: Path) -> Path:
    """Return ZMART_HOME if it is a readable folder or does not exist. Raises SettingError if it cannot be read."""
    try:
        is_open = not home.exists() or os.access(home, os.R_OK | os.X_OK)
    except OSError:  # a parent folder cannot be read
        is_open = False
    if not is_open:
        raise SettingError(f"ZMART_HOME is wrong: we may not look into {home}. Set it to a folder of yours.")
    return home


def executable(path: str, setting: str) -> Path:
    """Return the path of a program; `setting` names it. Raises SettingError if the path is not executable."""
    if not os.access(path, os.X_OK):
        raise SettingError(f"{setting} names {path}, which is not an executable program.")
    return Path(path)
