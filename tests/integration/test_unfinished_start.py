"""`zmart up` finds out whether the stack whose supervisord answers runs as a whole."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from kit.supervised import start_supervisord
from kit.waiting import wait_for
from zmart.cli import stack
from zmart.cli.stack_up import POLL_SECONDS, StackSession
from zmart.cli.supervising_output import LossyStream, plain_console
from zmart.errors import ConfigError
from zmart.local import process_group, unfinished
from zmart.local.processes import start_command
from zmart.local.stack import SERVICE_GROUP, supervisor_of
from zmart.local.stack_locks import only_one_start, working
from zmart.local.startup import running_stack, stop_stack
from zmart.local.supervision import SupervisedProgram, Supervisor
from zmart.settings import load_settings, settings

app = typer.Typer()
stack.register(app)
SLEEPER = "import time; time.sleep(600)"


@pytest.fixture
def process(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run a supervisord with two programs that are not started: `gateway` sleeps, `monitor` ends whenever it starts."""
    supervisor = supervisor_of(tmp_path)
    programs = [
        SupervisedProgram(
            name=name,
            group=SERVICE_GROUP,
            command=tuple(start_command([sys.executable, "-c", code], die_with_parent=signal.SIGTERM)),
        )
        for name, code in (("gateway", SLEEPER), ("monitor", "raise SystemExit(1)"))
    ]
    with only_one_start(tmp_path):
        supervisor.write_config(programs, tmp_path)
    process = start_supervisord(supervisor, tmp_path)
    try:
        yield process
    finally:
        stop_stack(tmp_path)
        process.wait(10)


@pytest.fixture
def supervisor(process: subprocess.Popen[bytes], tmp_path: Path) -> Supervisor:
    return supervisor_of(tmp_path)


def test_a_start_that_was_interrupted_is_named_by_what_does_not_run(
    supervisor: Supervisor, tmp_path: Path
) -> None:
    assert "gateway, monitor are stopped" in unfinished.why_unfinished(tmp_path)
    supervisor.start("services:gateway")
    assert "monitor is stopped" in unfinished.why_unfinished(tmp_path)
    supervisor.start("services:monitor")
    assert unfinished.why_unfinished(tmp_path) == "", "a program that keeps ending is started again"
    unfinished.begin_start(tmp_path)
    assert "interrupted" in unfinished.why_unfinished(tmp_path)
    unfinished.end_start(tmp_path)
    assert unfinished.why_unfinished(tmp_path) == ""
    supervisor.stop("services:gateway")
    assert "gateway is stopped" in unfinished.why_unfinished(tmp_path), "as after a restore"


@pytest.fixture
def settings_of_the_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("ZMART_HOME", str(tmp_path))
    monkeypatch.setenv("ZMART_ENV_FILE", os.devnull)
    settings.cache_clear()
    yield
    settings.cache_clear()


@pytest.mark.usefixtures("settings_of_the_home")
@pytest.mark.parametrize("alone", [False, True], ids=["a backup", "a restore"])
def test_a_start_is_not_continued_while_another_command_works_in_the_stack(
    supervisor: Supervisor, tmp_path: Path, alone: bool
) -> None:
    """A restore has stopped the services, and needs the database that a start would stop."""
    with working(tmp_path, alone=alone):
        refused = CliRunner().invoke(app, ["up", "--detach"])
        assert refused.exit_code == 1
        assert "wait until it has ended" in refused.stderr.replace("\n", " ")
        with pytest.raises(ConfigError, match="wait until"), working(tmp_path, alone=True):
            pass
    assert [info.state for info in supervisor.processes()] == ["STOPPED", "STOPPED"]


def test_a_command_that_needs_a_stack_does_not_take_a_part_of_one(
    supervisor: Supervisor, tmp_path: Path
) -> None:
    with (
        pytest.raises(ConfigError, match="`zmart up` starts all of it"),
        running_stack(load_settings(zmart_home=tmp_path), print),
    ):
        pass
    assert len(supervisor.processes()) == 2, "it was not stopped either"


@contextmanager
def full_disk() -> Iterator[LossyStream]:
    with Path("/dev/full").open("w") as file:  # each write to it fails
        yield LossyStream(file)


@contextmanager
def ended_reader() -> Iterator[LossyStream]:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as file:
        yield LossyStream(file)


@pytest.mark.parametrize("output", [full_disk, ended_reader])
def test_a_message_that_cannot_be_written_does_not_end_the_stack(
    process: subprocess.Popen[bytes],
    supervisor: Supervisor,
    tmp_path: Path,
    output: Callable[[], AbstractContextManager[LossyStream]],
) -> None:
    """Nobody can be told that a process was killed; it is started again, and the stack goes on until it is stopped."""
    supervisor.start("services:gateway")
    with output() as stream:
        session = StackSession(plain_console(stream), tmp_path)
        session._process = process
        status: list[int] = []
        waiting = threading.Thread(target=lambda: status.append(session.stay()))
        waiting.start()
        wait_for(lambda: kill_gateway(supervisor) or stream.error)
        assert waiting.is_alive()
        assert supervisor.answers()
        session._stop.set()
        waiting.join(30)
    assert status == [0]
    assert process_group.members(tmp_path) == []


def kill_gateway(supervisor: Supervisor) -> None:
    """Kill the gateway once it has run for so long that the session, which looks each second, has seen it."""
    gateway = next(info for info in supervisor.processes() if info.name == "gateway")
    if gateway.uptime_s > 3 * POLL_SECONDS:
        os.kill(gateway.pid, signal.SIGKILL)
