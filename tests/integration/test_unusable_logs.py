"""A log that cannot be used keeps no process down, and what can be said about it is said."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kit.supervised import SLEEPER, Running, running_programs
from kit.waiting import wait_for
from zmart.local import process_group

TALKER = "import time; all(time.sleep(0.02) is print('tick', flush=True) for _ in iter(int, 1))"


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    with running_programs(tmp_path, TALKER) as stack:
        yield stack


def remove_folder(log: Path) -> None:
    shutil.rmtree(log.parent)


def put_folder(log: Path) -> None:
    log.unlink()
    (log / "of an operator").mkdir(parents=True)


def put_fifo(log: Path) -> None:
    log.unlink()
    os.mkfifo(log)


def put_dangling_link(log: Path) -> None:
    log.unlink()
    log.symlink_to(log.parent / "missing" / "b.log")


def put_file_for_folder(log: Path) -> None:
    """Make the log impossible to open for root, too, as on a file system that is mounted read-only."""
    shutil.rmtree(log.parent)
    log.parent.write_text("")


BREAK = {
    "the folder is removed": remove_folder,
    "a folder": put_folder,
    "a FIFO": put_fifo,
    "a dangling link": put_dangling_link,
    "a file in place of the folder": put_file_for_folder,
}
MENDED = ("the folder is removed", "a folder", "a FIFO")


@pytest.mark.parametrize("what", BREAK)
def test_a_killed_process_is_started_again_whatever_became_of_its_log(running: Running, what: str) -> None:
    running.start()
    log = running.supervisor.logs / "b.log"
    wait_for(log.exists)
    killed = running.info("b").pid
    os.kill(running.process.pid, signal.SIGSTOP)  # so that no line comes between the fault and the end
    BREAK[what](log)
    os.kill(killed, signal.SIGKILL)
    os.kill(running.process.pid, signal.SIGCONT)
    wait_for(lambda: running.info("b").state == "RUNNING" and running.info("b").pid != killed)
    if what in MENDED:
        wait_for(lambda: log.is_file() and "tick" in log.read_text())
    else:
        assert not log.is_file()
    if what == "a folder":
        assert (log.parent / "b.log.not-a-log" / "of an operator").is_dir()


@pytest.mark.parametrize(
    "replace",
    [Path.unlink, lambda log: log.rename(log.with_name("b.old")), put_folder],
    ids=["rm", "mv", "mkdir"],
)
def test_lines_after_a_log_was_removed_are_in_a_new_one(
    running: Running, replace: Callable[[Path], None]
) -> None:
    running.start()
    log, own = running.supervisor.logs / "b.log", running.supervisor.logs / "supervisord.log"
    wait_for(log.exists)
    pid = running.info("b").pid
    replace(log)
    wait_for(lambda: log.is_file() and "tick" in log.read_text())
    assert running.info("b").pid == pid
    own.unlink()
    os.kill(pid, signal.SIGKILL)  # supervisord writes a line about that
    wait_for(lambda: own.is_file() and "spawned: 'b'" in own.read_text())


def test_a_log_that_was_emptied_after_a_rotation_has_no_hole(tmp_path: Path) -> None:
    stack = Running(tmp_path, {"a": SLEEPER, "b": TALKER, "c": SLEEPER}, log_bytes=200)
    try:
        stack.start()
        log = stack.supervisor.logs / "b.log"
        wait_for(log.with_name("b.log.1").exists)
        os.truncate(log, 0)
        wait_for(lambda: log.stat().st_size > 0)
        assert "\0" not in log.read_text()
    finally:
        process_group.end_members(tmp_path)
        stack.process.wait()


def test_a_folder_with_the_name_of_a_rotated_log_does_not_end_the_rotation(tmp_path: Path) -> None:
    stack = Running(tmp_path, dict.fromkeys("abc", TALKER), log_bytes=200)
    try:
        folder = stack.supervisor.logs / "b.log.1"
        (folder / "of an operator").mkdir(parents=True)
        stack.start()
        # Rotations make it the oldest file, which the next one would remove.
        wait_for((stack.supervisor.logs / "b.log.3.not-a-log" / "of an operator").is_dir)
        wait_for(folder.with_name("b.log.3").is_file)
    finally:
        process_group.end_members(tmp_path)
        stack.process.wait()
