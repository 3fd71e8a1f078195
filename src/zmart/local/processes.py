"""Start, await and stop the programs of the local stack."""

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
"""What ended PostgreSQL; not what it tells a client while it starts or ends."""


class RunAs(StrEnum):
    """Name the user of a program: ourselves, root seen as nobody, or nobody."""

    SELF = "self"
    NAMESPACE = "namespace"
    NOBODY = "nobody"


class StartError(ZmartError):
    """Report that a program of the local stack did not start; the sentence contains its last output."""


def start_command(
    command: Sequence[object],
    run_as: RunAs = RunAs.SELF,
    die_with_parent: signal.Signals | None = None,
    parent: int | None = None,
) -> list[str]:
    """Wrap `command` with start_program.py: run as `run_as`, receive `die_with_parent` when the parent ends.

    With the pid of its `parent` it also notices a parent that ended before the kernel was asked.
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
"""Below the range from which the kernel takes ports for outgoing connections, so that none of them can occupy a port
between its choice and its use; wide enough that two stacks that start together choose different ports."""


RESERVED_S = 60.0
_reservations: deque[tuple[float, socket.socket]] = deque()


def free_port() -> int:
    """Return a TCP port on 127.0.0.1 on which no process listens now, and which no other call returns for a minute, in
    whatever process: its server may take that long to listen."""
    while True:
        port = FIRST_PORT + secrets.randbelow(LAST_PORT - FIRST_PORT)
        if port_is_free(port) and _reserve(port):
            return port


def _reserve(port: int) -> bool:
    """Reserve the port by an abstract socket, which Linux frees when this process ends."""
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
    """Return whether a server of ours could listen on `port` of 127.0.0.1 now."""
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
    """Wait until `condition` holds.

    Raises StartError when `process` has ended or `seconds` have passed, with the last line of `log`.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        if process is not None and process.poll() is not None:
            raise StartError(f"{what} ended at its start (exit code {process.returncode}): {last_line(log)}")
        if time.monotonic() > deadline:
            raise StartError(f"{what} was not ready after {seconds:.0f} s: {last_line(log)}")
        time.sleep(POLL_SECONDS)


def last_line(log: Path | None, otherwise: str = "", before: int = 0) -> str:
    """Return a program's last output, for a sentence, or the last one that PostgreSQL calls fatal; `otherwise` if there
    is none. The first `before` bytes of the log are of earlier starts."""
    written = log.read_bytes() if log is not None and log.exists() else b""
    lines = written[before if len(written) >= before else 0 :].decode("utf-8", "replace").split("\n")
    outputs = [line.strip(" \t|+-│╭╮╰╯─") for line in reversed(lines)]  # without the frames around tracebacks
    fatal = (line for line in outputs if _FATAL.search(line))
    return next(fatal, "") or next((line for line in outputs if line), otherwise or "no output")


def stop(process: subprocess.Popen[bytes], how: signal.Signals, seconds: float = 10.0) -> None:
    """End a child with signal `how`, with SIGKILL after `seconds`."""
    if process.poll() is not None:
        return
    process.send_signal(how)
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def has_name(uid: int) -> bool:
    """Return whether the system has a name for a user's number; in containers that run as any number it has none."""
    try:
        pwd.getpwuid(uid)
    except KeyError:
        return False
    return True


def private_folder(path: Path) -> Path:
    """Create `path` with access for us alone. Raises SettingError where we may not write there, StoreError on a full
    disk."""
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
    """Return ZMART_HOME if it can be looked into, or is not there. Raises SettingError."""
    try:
        is_open = not home.exists() or os.access(home, os.R_OK | os.X_OK)
    except OSError:  # a folder above it
        is_open = False
    if not is_open:
        raise SettingError(f"ZMART_HOME is wrong: we may not look into {home}. Set it to a folder of yours.")
    return home


def executable(path: str, setting: str) -> Path:
    """Return the program that a setting names. Raises SettingError if it cannot be run."""
    if not os.access(path, os.X_OK):
        raise SettingError(f"{setting} names {path}, which is not an executable program.")
    return Path(path)
