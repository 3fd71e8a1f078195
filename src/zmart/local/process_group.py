"""Find the processes of this machine that belong to one stack, by a mark in their environment.

Every child inherits the mark, it cannot be there by chance, and it needs no pid file that may be wrong.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

MARK = "ZMART_STACK"
GRACE_SECONDS = 8.0


def mark(home: Path) -> dict[str, str]:
    """Return the environment variable that makes a process, and its children, part of the stack of `home`."""
    return {MARK: str(home.resolve())}


def members(home: Path) -> list[psutil.Process]:
    """Return every living process of the stack of `home` that we may end, except ourselves."""
    return list(_marked(str(home.resolve())))


def _marked(home: str) -> Iterator[psutil.Process]:
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            is_dead = process.status() == psutil.STATUS_ZOMBIE
            if process.pid != os.getpid() and not is_dead and process.environ().get(MARK) == home:
                yield process


def homes_of(installation: Path) -> list[Path]:
    """Return the home of every stack that programs of a virtual environment belong to."""
    homes: set[str] = set()
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            home, command = process.environ().get(MARK), process.cmdline()
            if home and any(word.startswith(f"{installation}{os.sep}") for word in command):
                homes.add(home)
    return [Path(home) for home in sorted(homes)]


def end_members(home: Path) -> int:
    """End the remaining processes of a stack: by a signal, then by SIGKILL. Returns how many there were."""
    processes = members(home)
    for process in processes:
        with contextlib.suppress(psutil.Error):
            # SIGINT is PostgreSQL's fast shutdown; SIGTERM would wait without limit for its clients.
            process.send_signal(signal.SIGINT if process.name() == "postgres" else signal.SIGTERM)
    _, alive = psutil.wait_procs(processes, timeout=GRACE_SECONDS)
    for process in [*alive, *members(home)]:
        with contextlib.suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(alive, timeout=GRACE_SECONDS)
    return len(processes)


def kill_member(home: Path, pid_file: Path) -> None:
    """Kill the process of a stack whose pid is in `pid_file`; what it started ends with it, in order."""
    with contextlib.suppress(OSError, ValueError, psutil.Error):
        pid = int(pid_file.read_text())
        if any(process.pid == pid for process in members(home)):
            psutil.Process(pid).kill()


def wait_until_ended(home: Path, seconds: float) -> bool:
    """Return whether every process of the stack ended within `seconds`."""
    deadline = time.monotonic() + seconds
    while members(home):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def memory_bytes(pid: int) -> int:
    """Return the memory of a process and its children; shared pages are divided among their users (PSS)."""
    total = 0
    with contextlib.suppress(psutil.Error):
        process = psutil.Process(pid)
        for one in [process, *process.children(recursive=True)]:
            with contextlib.suppress(psutil.Error):
                total += one.memory_full_info().pss
    return total
