"""`zmart ps`, `doctor` and `logs` name a log that cannot be used, and go on."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from zmart import cli
from zmart.cli import stack
from zmart.cli.stack_logs import FollowedLog
from zmart.local.doctor import examine
from zmart.local.down_reasons import why_down
from zmart.local.log_files import why_unwritable
from zmart.local.supervision import ProcessInfo, Supervisor

TOO_SOON = "Exited too quickly (process log may have details)"


def info(spawnerr: str) -> ProcessInfo:
    return ProcessInfo("monitor", "services", "BACKOFF", 0, 0, 0, 1, spawnerr)


def as_file(logs: Path) -> None:
    """Make every log impossible to write for root, too, as on a file system that is mounted read-only."""
    for log in logs.iterdir():
        log.unlink()
    logs.rmdir()
    logs.write_text("")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "monitor.log").write_text('{"event":"tick","level":"info"}\n')
    return tmp_path


@pytest.mark.parametrize(
    ("spawnerr", "shown"),
    [
        ("", "tick"),
        (TOO_SOON, "tick"),
        ("can't find command '/x'", "It cannot be started: can't find command '/x'."),
        (
            "too many open files to spawn 'monitor'",
            "It cannot be started: too many open files to spawn 'monitor'.",
        ),
    ],
)
def test_what_keeps_a_process_from_starting_precedes_the_last_line_of_its_log(
    home: Path, spawnerr: str, shown: str
) -> None:
    assert why_down(Supervisor(home / "run", home / "logs"), info(spawnerr)) == shown


@pytest.mark.parametrize("spawnerr", ["", TOO_SOON, "unknown error making dispatchers for 'monitor': EROFS"])
def test_the_reason_of_a_process_whose_log_cannot_be_written_names_the_path(
    home: Path, spawnerr: str
) -> None:
    as_file(home / "logs")
    reason = why_down(Supervisor(home / "run", home / "logs"), info(spawnerr))
    assert f"The log {home}/logs/monitor.log cannot be written (" in reason
    assert "dispatchers" not in spawnerr or reason.startswith("It cannot be started: ")


def test_a_process_that_ended_without_a_line_shows_what_supervisord_says(home: Path) -> None:
    (home / "logs" / "monitor.log").unlink()
    assert why_down(Supervisor(home / "run", home / "logs"), info(TOO_SOON)) == TOO_SOON


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda log: None, ""),
        (lambda log: log.write_text("tick\n"), ""),
        (lambda log: log.mkdir(), ""),  # it is renamed with the next line
        (os.mkfifo, ""),
        (lambda log: log.parent.rmdir(), ""),  # it is made with the next line
        (lambda log: log.symlink_to("/dev/null"), ""),
        (
            lambda log: log.symlink_to(log.parent / "missing" / "deeper" / "x.log"),
            "missing/deeper is missing",
        ),
        (lambda log: (log.mkdir(), log.with_name("a.log.not-a-log").mkdir()), "Is a directory"),
        (lambda log: as_file(log.parent), "Not a directory"),
    ],
    ids=[
        "none",
        "file",
        "folder",
        "FIFO",
        "no folder",
        "device",
        "dangling",
        "folder twice",
        "file for folder",
    ],
)
def test_a_log_is_unwritable_if_no_line_can_be_appended(
    tmp_path: Path, make: Callable[[Path], object], reason: str
) -> None:
    log = tmp_path / "logs" / "a.log"
    log.parent.mkdir()
    make(log)
    found = why_unwritable(log)
    assert (reason in found and str(log) in found) if reason else found == ""


def test_the_doctor_names_logs_that_cannot_be_written(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZMART_HOME", str(home))
    assert [finding for finding in examine() if finding.name == "logs"] == []
    (home / "logs" / "valkey.log").symlink_to(home / "logs" / "missing" / "valkey.log")
    [finding] = [finding for finding in examine() if finding.name == "logs"]
    assert not finding.ok
    assert f"{home}/logs/valkey.log cannot be written" in finding.sentence
    for log in (home / "logs").iterdir():
        log.unlink()
    as_file(home / "logs")
    [finding] = [finding for finding in examine() if finding.name == "logs"]
    assert f"The folder {home}/logs cannot be written" in finding.sentence


def run_logs(home: Path, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> Result:
    monkeypatch.setattr(stack, "_home", lambda: home)
    stack.register(app := cli.typer.Typer())
    return CliRunner().invoke(app, ["logs", *arguments])


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo], ids=["folder", "FIFO"])
@pytest.mark.parametrize("options", [(), ("--level", "info")])
def test_zmart_logs_shows_the_logs_that_can_be_read_and_names_the_others(
    home: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[[Path], object], options: tuple[str, ...]
) -> None:
    make(home / "logs" / "valkey.log")
    make(home / "logs" / "monitor.log.1")
    done = run_logs(home, monkeypatch, *options)
    assert (done.exit_code, done.stdout) == (0, '{"event":"tick","level":"info"}\n')
    assert f"{home}/logs/valkey.log cannot be read (it is " in done.stderr
    alone = run_logs(home, monkeypatch, "valkey", *options)
    assert (alone.exit_code, alone.stdout) == (1, "")
    assert f"{home}/logs/valkey.log cannot be read (it is " in alone.stderr


def test_following_goes_on_while_a_folder_is_in_the_place_of_the_log(home: Path) -> None:
    log = home / "logs" / "monitor.log"
    followed = FollowedLog(log)
    log.unlink()
    log.mkdir()
    assert followed.new_lines() == []
    log.rmdir()
    log.write_text("again\n")
    assert followed.new_lines() == ["again"]
    followed.close()
