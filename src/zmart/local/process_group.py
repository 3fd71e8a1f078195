"""Which processes of this machine belong to one stack: those whose environment carries its mark.

The mark is inherited by every child, cannot be there by chance, and needs no pid file that could lie.
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
    """The environment variable that makes a process, and its children, part of the stack of `home`."""
    return {MARK: str(home.resolve())}


def members(home: Path) -> list[psutil.Process]:
    """Every living process of the stack of `home` that we may end, except ourselves."""
    return list(_members(str(home.resolve())))


def _members(wanted: str) -> Iterator[psutil.Process]:
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            is_dead = process.status() == psutil.STATUS_ZOMBIE
            if process.pid != os.getpid() and not is_dead and process.environ().get(MARK) == wanted:
                yield process


def end_members(home: Path) -> int:
    """End what is left of a stack: politely, then by force. Returns how many there were."""
    found = members(home)
    for process in found:
        with contextlib.suppress(psutil.Error):
            # SIGINT is PostgreSQL's fast shutdown; SIGTERM would wait for its clients for ever.
            process.send_signal(signal.SIGINT if process.name() == "postgres" else signal.SIGTERM)
    _, alive = psutil.wait_procs(found, timeout=GRACE_SECONDS)
    for process in [*alive, *members(home)]:
        with contextlib.suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(alive, timeout=GRACE_SECONDS)
    return len(found)


def wait_gone(home: Path, seconds: float) -> bool:
    """Whether every process of the stack ended within `seconds`."""
    deadline = time.monotonic() + seconds
    while members(home):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def memory_bytes(pid: int) -> int:
    """What a process and its children really cost: shared pages are split among those who share (PSS)."""
    total = 0
    with contextlib.suppress(psutil.Error):
        process = psutil.Process(pid)
        for one in [process, *process.children(recursive=True)]:
            with contextlib.suppress(psutil.Error):
                total += one.memory_full_info().pss
    return total
