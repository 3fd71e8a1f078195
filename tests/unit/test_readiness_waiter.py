"""The start of the stack waits for conditions, and for supervisord's word on its processes beside them."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from kit.waiting import wait_for
from zmart.local.processes import StartError
from zmart.local.readiness import ReadinessWaiter
from zmart.local.supervision import ProcessInfo, Supervisor


class OneProcess(Supervisor):
    """A supervisord that answers from `free` on, with a program that it gave up."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, folder)
        self.asked, self.free = threading.Event(), threading.Event()

    def processes(self) -> list[ProcessInfo]:
        self.asked.set()
        assert self.free.wait(30)
        return [ProcessInfo("postgres", "postgres", "FATAL", 0, 0, 0, 1, "no such file")]


def test_a_wait_ends_while_supervisord_imports_libraries_and_answers_nobody(tmp_path: Path) -> None:
    supervisor = OneProcess(tmp_path)
    waiter = ReadinessWaiter(supervisor, seconds=60)
    with waiter.watching():
        wait_for(supervisor.asked.is_set)
        looks = iter([False, False, True])
        waiter.until("postgres", lambda: next(looks))
        assert not supervisor.free.is_set()
        supervisor.free.set()
        with pytest.raises(StartError, match="postgres does not start: no such file"):
            waiter.until("postgres", lambda: False)
