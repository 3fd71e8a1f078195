"""The start of the local stack waits for conditions, and checks with supervisord that its processes still run."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from kit.waiting import wait_for
from zmart.local.processes import StartError
from zmart.local.readiness import ReadinessWaiter, StartInterrupted
from zmart.local.startup import StackStart
from zmart.local.supervision import ProcessInfo, Supervisor


class OneProcess(Supervisor):
    """A supervisord whose answer waits for the event `free` and then has one process in the state FATAL."""

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


POSTGRES = """\
2026-01-01 12:00:00 UTC [7] FATAL:  the database system is starting up
2026-01-01 12:00:00 UTC [8] PANIC:  could not locate a valid checkpoint record
2026-01-01 12:00:00 UTC [9] FATAL:  the database system is shutting down
2026-01-01 12:00:00 UTC [1] LOG:  database system is shut down
"""
OUTPUTS = {
    "a line of this start": ("of before\n", "of now\n", "of now"),
    "nothing": ("of before\n", "", "ended at once"),
    "a log that was rotated": ("of before, and long\n", None, "new"),
    "what ended PostgreSQL": ("[1] PANIC:  of before\n", POSTGRES, POSTGRES.splitlines()[1]),
    "a service that names an error of PostgreSQL": (
        "", '{"event": "FATAL:  no such role"}\n{"event": "service stopped"}\n', "service stopped",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", OUTPUTS)
def test_the_last_output_is_that_of_this_start(tmp_path: Path, case: str) -> None:
    before, written, said = OUTPUTS[case]
    log = tmp_path / "postgres.log"
    log.write_text(before)
    waiter = ReadinessWaiter(Supervisor(tmp_path, tmp_path), seconds=60)
    log.write_text("new\n" if written is None else before + written)
    assert waiter.last_output("postgres", "ended at once") == said


def test_what_fails_after_ctrl_c_only_followed_from_it(tmp_path: Path) -> None:
    """An error after Ctrl-C is reported as the interruption.

    The programs that a start runs, such as initdb, get the terminal's signal, too, and fail because of it.
    """
    start = object.__new__(StackStart)
    start._waiter = ReadinessWaiter(Supervisor(tmp_path, tmp_path), seconds=60)

    def ended() -> None:
        raise StartError("initdb: removing data directory")

    with pytest.raises(StartError, match="initdb"):
        start._guarded(ended)
    with pytest.raises(StartInterrupted, match="Stopped while starting"):
        start._guarded(ended)
