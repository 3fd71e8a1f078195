"""Starting, awaiting and ending the programs of the local stack."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from enum import StrEnum
from pathlib import Path

from zmart.errors import ConfigError, ZmartError

POLL_SECONDS = 0.01


class RunAs(StrEnum):
    """As whom a program runs: as we are, as root seen as nobody, or as nobody."""

    SELF = "self"
    NAMESPACE = "namespace"
    NOBODY = "nobody"


class StartError(ZmartError):
    """A program of the local stack did not start; the sentence holds its last words."""


def launched(
    command: Sequence[object],
    run_as: RunAs = RunAs.SELF,
    die_with_parent: signal.Signals | None = None,
    parent: int | None = None,
) -> list[str]:
    """`command` behind launch.py: as `run_as`, sent `die_with_parent` by the kernel when its parent ends.

    With the pid of its `parent` it also notices a parent that ended before it could ask the kernel.
    """
    options: list[str] = [] if run_as is RunAs.SELF else ["--as", run_as.value]
    if die_with_parent is not None:
        options += ["--die-with-parent", str(int(die_with_parent))]
    if parent is not None:
        options += ["--parent", str(parent)]
    if not options:
        return [str(part) for part in command]
    script = Path(__file__).with_name("launch.py")
    return [sys.executable, "-I", "-S", str(script), *options, "--", *map(str, command)]


FIRST_PORT, LAST_PORT = 20_000, 32_000
"""Below the range from which the kernel takes ports for outgoing connections, so that none of those is in the way
between the choice of a port and its use; wide enough that two stacks that start together do not meet."""


def free_port() -> int:
    """A TCP port on 127.0.0.1 that nobody listens on now."""
    while True:
        port = FIRST_PORT + secrets.randbelow(LAST_PORT - FIRST_PORT)
        if port_is_free(port):
            return port


def port_is_free(port: int) -> bool:
    """Whether a server of ours could listen on `port` of 127.0.0.1 now."""
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
    """Return when `condition` holds.

    Raises StartError when `process` has ended or `seconds` have passed, with the last line of `log`.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        if process is not None and process.poll() is not None:
            raise StartError(f"{what} ended at its start (exit code {process.returncode}): {last_line(log)}")
        if time.monotonic() > deadline:
            raise StartError(f"{what} was not ready after {seconds:.0f} s: {last_line(log)}")
        time.sleep(POLL_SECONDS)


def last_line(log: Path | None) -> str:
    """The last words of a program, for a sentence."""
    lines = log.read_text("utf-8", "replace").split("\n") if log is not None and log.exists() else []
    said = (line.strip(" \t|+-│╭╮╰╯─") for line in reversed(lines))  # without the frames around tracebacks
    return next((line for line in said if line), "it said nothing")


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


def private_folder(path: Path) -> Path:
    """Make `path` for us alone."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    return path


def executable(path: str, setting: str) -> Path:
    """The program that a setting names. Raises ConfigError when there is none."""
    if not os.access(path, os.X_OK):
        raise ConfigError(f"{setting} names {path}, which is no program that can be run here.")
    return Path(path)
