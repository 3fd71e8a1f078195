"""Tests of supervised processes: they stay up, and none remains after the end."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from supervisor.states import ProcessStates

from kit.mounts import mounted
from kit.supervised import SLEEPER, Running, running_programs
from kit.waiting import wait_for
from zmart.cli.stack_output import print_processes, rows
from zmart.errors import ConfigError
from zmart.local import doctor, process_group
from zmart.local.processes import start_command
from zmart.local.startup import is_up, running_stack, stop_stack
from zmart.local.supervision import (
    ANSWER_SECONDS,
    LOG_BACKUPS,
    SupervisionError,
    Supervisor,
    SupervisorHangs,
)
from zmart.local.supervisord import LONGEST_PAUSE_S, PersistentProcess
from zmart.settings import load_settings


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    with running_programs(tmp_path, SLEEPER) as stack:
        yield stack


def test_a_killed_process_is_started_again_and_counted(running: Running) -> None:
    running.start()
    before = running.info("b").pid
    os.kill(before, signal.SIGKILL)
    wait_for(lambda: running.info("b").pid not in (0, before))
    assert running.supervisor.spawns() == {"a": 1, "b": 2, "c": 1}


def test_what_programs_log_is_bounded(tmp_path: Path) -> None:
    chatty = (
        "import time; [print(n, 'x' * 90) for n in range(20_000)]; print('end', flush=True); time.sleep(600)"
    )
    running = Running(tmp_path, {"a": chatty}, log_bytes=100_000)
    try:
        running.supervisor.start("first:a")
        logs = running.supervisor.logs
        wait_for(lambda: any(file.read_bytes().endswith(b"end\n") for file in logs.glob("a.log*")))
        files = sorted(logs.glob("a.log*"))
        assert len(files) == 1 + LOG_BACKUPS
        read_at_once = 128 * 1024
        assert all(file.stat().st_size <= 100_000 + read_at_once for file in files)
    finally:
        process_group.end_members(tmp_path)
        running.process.wait()


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


def test_a_stack_is_found_from_a_terminal_with_another_folder_for_temporary_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise `zmart ps` finds no stack there, and `zmart up` ends the one that runs."""
    deep = tmp_path / ("long" * 20) / "run"
    at_the_start = Supervisor(deep, deep).socket
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)  # it is read again
    assert tempfile.gettempdir() == str(tmp_path)
    assert Supervisor(deep, deep).socket == at_the_start


def test_what_a_program_says_is_in_its_log(tmp_path: Path) -> None:
    running = Running(tmp_path, {"a": f"print('50 % of \"all\"', flush=True); {SLEEPER}"})
    try:
        running.supervisor.start("first:a")
        log = running.supervisor.logs / "a.log"
        wait_for(lambda: log.exists() and log.read_text() == '50 % of "all"\n')
    finally:
        running.supervisor.shut_down()
        running.process.wait(20)


def test_a_program_that_keeps_ending_is_started_again_soon_after_its_fault_is_over(
    tmp_path: Path,
) -> None:
    """C17, C4: a program that keeps ending is started again without limit, and soon after its fault is over.

    The pause between two starts does not grow without limit.
    """
    over, runs = tmp_path / "fault is over", tmp_path / "runs"
    failing = (
        f"import os, sys; os.path.exists({str(over)!r}) or sys.exit(1); open({str(runs)!r}, 'w'); {SLEEPER}"
    )
    running = Running(tmp_path, {"a": failing})
    try:
        running.supervisor.start("first:a")
        wait_for(lambda: running.supervisor.spawns().get("a", 0) >= 4)
        assert running.info("a").state in ("BACKOFF", "STARTING")
        over.touch()
        before = time.monotonic()
        wait_for(runs.exists)
        assert (
            time.monotonic() - before < 5 + 1.5
        )  # supervisord looks once a second; a busy machine starts it slowly
        wait_for(lambda: running.info("a").state == "RUNNING")
    finally:
        running.supervisor.shut_down()
        running.process.wait(20)


def test_no_number_of_failed_starts_ends_the_starts() -> None:
    """C17: no number of failed starts ends the starts.

    supervisord itself gives a program up once its count is above `startretries`, 3 by default.
    """
    process = PersistentProcess(None)
    for _ in range(1_000):
        process.change_state(ProcessStates.STARTING)
        process.change_state(ProcessStates.BACKOFF)
        assert process.backoff <= LONGEST_PAUSE_S <= 3
        assert process.delay <= time.time() + LONGEST_PAUSE_S


def test_a_full_disk_ends_neither_the_supervisor_nor_what_it_runs(tmp_path: Path) -> None:
    """C16: a full disk, on which no log can be written, ends neither supervisord nor its programs.

    A limit of file sizes makes every write to the logs of supervisord and its programs fail, as a full disk does.
    """
    talker = "import time; [(print('x' * 200, flush=True), time.sleep(0.01)) for _ in iter(int, 1)]"
    running = Running(tmp_path, {"a": SLEEPER, "b": SLEEPER, "c": talker})
    log, talk = running.supervisor.logs / "supervisord.log", running.supervisor.logs / "c.log"
    supervisor = psutil.Process(running.process.pid)
    try:
        running.start()
        wait_for(lambda: talk.stat().st_size > log.stat().st_size)
        supervisor.rlimit(psutil.RLIMIT_FSIZE, (1, resource.RLIM_INFINITY))
        for name in "abc":
            before = running.info(name).pid
            os.kill(before, signal.SIGKILL)
            wait_for(lambda name=name, before=before: running.info(name).pid not in (0, before))
        written = log.read_bytes(), talk.stat().st_size
        supervisor.rlimit(psutil.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        wait_for(lambda: talk.stat().st_size > written[1] + 1_000)
        os.kill(running.info("a").pid, signal.SIGKILL)
        wait_for(lambda: b"exited: a" in log.read_bytes()[len(written[0]) :])
    finally:
        running.supervisor.shut_down()
        assert running.process.wait(20) == 0


def test_a_full_disk_is_said_of_processes_that_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The dashboard, `zmart ps` and `zmart doctor` report a full disk in the same words (docs/operations.md)."""
    monkeypatch.setenv("COLUMNS", "300")
    with mounted(tmp_path / "disk", "40m") as home:  # less than what PostgreSQL needs counts as full
        stack = Running(home, dict.fromkeys("abc", SLEEPER))
        try:
            stack.start()
            assert [row.reason for row in rows(home)] == [doctor._disk(home).sentence] * 3
            assert print_processes(home, as_json=False) == 0  # all of them run
            assert capsys.readouterr().out.count(doctor._disk(home).sentence) == 1
        finally:
            process_group.end_members(home)
            stack.process.wait()


def test_a_supervisor_that_hangs_is_told_and_ended_within_seconds(running: Running, tmp_path: Path) -> None:
    """C22: within seconds ps, doctor and `zmart up` report a supervisord that hangs, and stopping the stack ends it."""
    running.start()
    running.process.send_signal(signal.SIGSTOP)
    before = time.monotonic()
    with pytest.raises(SupervisorHangs, match="`zmart stop` ends it"):
        rows(tmp_path)
    [finding] = doctor._stack(load_settings(zmart_home=tmp_path))
    assert (finding.name, finding.ok) == ("supervisord", False)
    assert "`zmart stop` ends it" in finding.sentence
    assert not is_up(tmp_path)
    assert time.monotonic() - before < 3 * ANSWER_SECONDS + 3
    before = time.monotonic()
    assert stop_stack(tmp_path) == 4
    assert time.monotonic() - before < 15
    assert process_group.members(tmp_path) == []
    assert not running.supervisor.socket.exists()


def test_a_stack_whose_folder_of_sockets_was_removed_is_named_with_its_processes(
    running: Running, tmp_path: Path
) -> None:
    """Its supervisord cannot be reached any more; "No stack runs here" would be wrong."""
    running.start()
    shutil.rmtree(tmp_path / "run")
    with pytest.raises(ConfigError, match=r"4 processes of the stack in .*`zmart up` ends them"):
        rows(tmp_path)
    [finding] = doctor._stack(load_settings(zmart_home=tmp_path))
    assert (finding.ok, str(running.process.pid) in finding.sentence) == (False, True)
    assert stop_stack(tmp_path) == 4
    with pytest.raises(ConfigError, match="No stack runs in"):
        rows(tmp_path)


def test_a_command_that_needs_a_stack_does_not_end_one_that_is_slow_to_answer(
    running: Running, tmp_path: Path
) -> None:
    """`zmart demo` starts a stack only where none runs."""
    running.process.send_signal(signal.SIGSTOP)
    said: list[str] = []
    with pytest.raises(SupervisorHangs), running_stack(load_settings(zmart_home=tmp_path), said.append):
        pass
    running.process.send_signal(signal.SIGCONT)
    assert said == []
    wait_for(running.supervisor.answers)


def test_more_callers_than_a_hanging_supervisor_has_room_for_wait_no_longer(running: Running) -> None:
    """C22: calls of a hanging supervisord fail no later when its queue of connections is full."""
    impatient = Supervisor(running.supervisor.folder, running.supervisor.logs, answer_s=0.02)
    running.process.send_signal(signal.SIGSTOP)
    for _ in range(300):
        with pytest.raises(SupervisorHangs):
            impatient.processes()
    running.process.send_signal(signal.SIGCONT)
    wait_for(running.supervisor.answers)
