"""Processes that stay up, and of which nothing stays behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from kit.waiting import wait_for
from zmart.local import process_group
from zmart.local.processes import start_command
from zmart.local.supervision import ProcessInfo, SupervisedProgram, SupervisionError, Supervisor

SLEEPER = "import signal, sys, time; signal.signal(signal.SIGTERM, lambda *a: sys.exit(0)); time.sleep(600)"


def program(name: str, group: str, code: str) -> SupervisedProgram:
    command = start_command([sys.executable, "-c", code], die_with_parent=signal.SIGTERM)
    return SupervisedProgram(name=name, group=group, command=tuple(command), stop_seconds=5)


class Running:
    """A supervisord of a test with its programs: `a` in one group, `b` and `c` in the next."""

    def __init__(self, home: Path, codes: dict[str, str]) -> None:
        self.home = home
        self.supervisor = Supervisor(home / "run", home / "logs")
        programs = [program(name, "first" if name == "a" else "second", code) for name, code in codes.items()]
        self.supervisor.write_config(programs, home)
        self.process = subprocess.Popen(
            self.supervisor.command(),
            env={**os.environ, **process_group.mark(home)},
            start_new_session=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        wait_for(self.supervisor.answers)

    def info(self, name: str) -> ProcessInfo:
        return next(info for info in self.supervisor.processes() if info.name == name)

    def start(self) -> None:
        self.supervisor.start("first:a", "second:b", "second:c")
        wait_for(lambda: all(info.state == "RUNNING" for info in self.supervisor.processes()))


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    stack = Running(tmp_path, dict.fromkeys("abc", SLEEPER))
    yield stack
    process_group.end_members(tmp_path)
    stack.process.wait()


def test_a_killed_process_is_started_again_and_counted(running: Running) -> None:
    running.start()
    before = running.info("b").pid
    os.kill(before, signal.SIGKILL)
    wait_for(lambda: running.info("b").pid not in (0, before))
    assert running.supervisor.spawns() == {"a": 1, "b": 2, "c": 1}


def test_shutting_down_leaves_no_process_and_no_socket(running: Running, tmp_path: Path) -> None:
    running.start()
    assert len(process_group.members(tmp_path)) == 4
    running.supervisor.shut_down()
    assert running.process.wait(20) == 0
    assert process_group.members(tmp_path) == []
    assert not running.supervisor.socket.exists()


def test_groups_end_in_the_reverse_order_of_starting(running: Running) -> None:
    running.start()
    running.supervisor.shut_down()
    running.process.wait(20)
    lines = (running.supervisor.logs / "supervisord.log").read_text().splitlines()
    ended = [line.split("stopped: ")[1][0] for line in lines if "stopped: " in line]
    assert sorted(ended[:2]) == ["b", "c"]
    assert ended[2] == "a"


def test_kill_9_of_the_supervisor_ends_its_programs(running: Running, tmp_path: Path) -> None:
    running.start()
    running.process.kill()
    running.process.wait()
    wait_for(lambda: not process_group.members(tmp_path))


def test_a_program_whose_parent_ended_before_it_began_does_not_begin() -> None:
    command = start_command(["/bin/echo", "begun"], die_with_parent=signal.SIGTERM, parent=1)
    done = subprocess.run(command, capture_output=True, check=False)
    assert (done.returncode, done.stdout) == (126, b"")


def test_what_survives_its_supervisor_is_known_by_its_mark_and_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process_group, "GRACE_SECONDS", 0.5)
    deaf = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(1, flush=True); time.sleep(600)"
    running = Running(tmp_path, {"a": SLEEPER, "b": deaf})
    running.supervisor.start("first:a", "second:b")
    wait_for(
        lambda: (
            (running.supervisor.logs / "b.log").exists() and (running.supervisor.logs / "b.log").read_text()
        )
    )
    survivor = running.info("b").pid
    running.process.kill()
    running.process.wait()
    wait_for(lambda: [process.pid for process in process_group.members(tmp_path)] == [survivor])
    assert process_group.end_members(tmp_path / "other") == 0
    assert process_group.end_members(tmp_path) == 1
    assert process_group.members(tmp_path) == []


def test_a_supervisor_that_is_away_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(SupervisionError, match="no supervisord answers"):
        Supervisor(tmp_path / "run", tmp_path / "logs").processes()


def test_a_folder_with_a_long_name_gets_a_socket_that_the_kernel_takes(tmp_path: Path) -> None:
    deep = tmp_path / ("long" * 20) / ("longer" * 10)
    running = Running(deep, {"a": SLEEPER})
    try:
        assert len(str(running.supervisor.socket)) < 100
        assert (running.supervisor.socket.parent.stat().st_mode & 0o077) == 0
    finally:
        running.supervisor.shut_down()
        running.process.wait(20)
        running.supervisor.socket.parent.rmdir()


def test_what_a_program_says_is_in_its_log(tmp_path: Path) -> None:
    running = Running(tmp_path, {"a": f"print('50 % of \"all\"', flush=True); {SLEEPER}"})
    try:
        running.supervisor.start("first:a")
        log = running.supervisor.logs / "a.log"
        wait_for(lambda: log.exists() and log.read_text() == '50 % of "all"\n')
    finally:
        running.supervisor.shut_down()
        running.process.wait(20)
