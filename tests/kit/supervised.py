"""A supervisord with three programs, without the servers and services of a stack."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kit.waiting import wait_for
from zmart.local import process_group
from zmart.local.processes import start_command
from zmart.local.supervision import LOG_BYTES, ProcessInfo, SupervisedProgram, Supervisor

# It waits for the signal itself: a handler may only run after a sleep that has just begun.
SLEEPER = "import signal; signal.pthread_sigmask(signal.SIG_BLOCK, [15]); signal.sigwait([15])"


def program(name: str, group: str, code: str) -> SupervisedProgram:
    command = start_command([sys.executable, "-c", code], die_with_parent=signal.SIGTERM)
    return SupervisedProgram(name=name, group=group, command=tuple(command), stop_seconds=5)


def start_supervisord(supervisor: Supervisor, home: Path) -> subprocess.Popen[bytes]:
    """Start a supervisord whose configuration is written, as one of the processes of `home`; wait until it answers."""
    process = subprocess.Popen(
        supervisor.command(),
        env={**os.environ, **process_group.mark(home)},
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for(supervisor.answers)
    except BaseException:
        process_group.end_members(home)
        raise
    return process


class Running:
    """A supervisord of a test with its programs: `a` is in one group, `b` and `c` are in the next."""

    def __init__(self, home: Path, codes: dict[str, str], log_bytes: int = LOG_BYTES) -> None:
        self.home = home
        self.supervisor = Supervisor(home / "run", home / "logs", log_bytes=log_bytes)
        programs = [program(name, "first" if name == "a" else "second", code) for name, code in codes.items()]
        self.supervisor.write_config(programs, home)
        self.process = start_supervisord(self.supervisor, home)

    def info(self, name: str) -> ProcessInfo:
        return next(info for info in self.supervisor.processes() if info.name == name)

    def start(self) -> None:
        self.supervisor.start("first:a", "second:b", "second:c")
        wait_for(lambda: all(info.state == "RUNNING" for info in self.supervisor.processes()))


@contextmanager
def running_programs(home: Path, code: str) -> Iterator[Running]:
    """Yield a supervisord whose three programs run `code` once they are started; end all processes after the block."""
    stack = Running(home, dict.fromkeys("abc", code))
    yield stack
    process_group.end_members(home)
    stack.process.wait()
