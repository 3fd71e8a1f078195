"""Find the processes of this machine that belong to one stack, by the variable ZMART_STACK in their environment.

Its value is the stack's ZMART_HOME. Every child process inherits it, and unlike a pid file it cannot be outdated.
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
    """Return every process of the stack of `home` whose environment we may read, except this one and zombies."""
    return list(_marked(str(home.resolve())))


def without_supervisor(home: Path) -> str:
    """Return a sentence about the processes of a stack whose supervisord cannot be reached; "" if there are none.

    The supervisord of a stack whose folder `run` was removed is one of them.
    """
    pids = [str(process.pid) for process in members(home)]
    if not pids:
        return ""
    count = f"{len(pids)} process{'es' if len(pids) > 1 else ''}"
    return (
        f"{count} of the stack in {home} run{'' if len(pids) > 1 else 's'} (pid {', '.join(pids)}), but no supervisord "
        f"can be reached in {home / 'run'}: `zmart up` ends them and starts the stack again, `zmart stop` only ends "
        "them. No data is lost."
    )


def _marked(home: str) -> Iterator[psutil.Process]:
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            is_dead = process.status() == psutil.STATUS_ZOMBIE
            if process.pid != os.getpid() and not is_dead and process.environ().get(MARK) == home:
                yield process


def homes_of(installation: Path) -> list[Path]:
    """Return the ZMART_HOME of each stack that runs a program of the virtual environment in `installation`."""
    homes: set[str] = set()
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            home, command = process.environ().get(MARK), process.cmdline()
            if home and any(word.startswith(f"{installation}{os.sep}") for word in command):
                homes.add(home)
    return [Path(home) for home in sorted(homes)]


def end_members(home: Path) -> int:
    """End the remaining processes of a stack, and return how many there were.

    They get SIGTERM (PostgreSQL: SIGINT), and SIGKILL if they have not ended after 8 s.
    """
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
    """Kill the process of a stack whose pid is in `pid_file` (supervisord), if it belongs to the stack.

    Its children then get the signals that they asked the kernel for (start_program.py), and end by themselves.
    """
    with contextlib.suppress(OSError, ValueError, psutil.Error):
        pid = int(pid_file.read_text())
        if any(process.pid == pid for process in members(home)):
            psutil.Process(pid).kill()


def wait_until_ended(home: Path, seconds: float) -> bool:
    """Wait until no process of the stack runs, for `seconds` at most, and return whether that was reached."""
    deadline = time.monotonic() + seconds
    while members(home):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def memory_bytes(pid: int) -> int:
    """Return the memory in bytes of a process and all its children; shared pages are divided among processes (PSS)."""
    total = 0
    with contextlib.suppress(psutil.Error):
        process = psutil.Process(pid)
        for one in [process, *process.children(recursive=True)]:
            with contextlib.suppress(psutil.Error):
                total += one.memory_full_info().pss
    return total
