"""A rollback that was killed is continued, unless the stack was started since: its backup would be too old."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from kit.supervised import start_supervisord
from kit.waiting import wait_for
from zmart.errors import Unavailable
from zmart.local.processes import start_command
from zmart.local.releases import record_release, this_release
from zmart.local.rollback import RollbackProgress, progress_of, roll_back
from zmart.local.stack import SERVICE_GROUP, supervisor_of
from zmart.local.startup import stop_stack
from zmart.local.supervision import SupervisedProgram
from zmart.services.contract import SERVICES


@pytest.fixture
def begun(tmp_path: Path) -> Iterator[RollbackProgress]:
    """Return the progress of a rollback that was killed; supervisord runs, and its services are stopped."""
    supervisor = supervisor_of(tmp_path)
    code = "import time; time.sleep(60)"
    command = start_command([sys.executable, "-c", code], die_with_parent=signal.SIGTERM)
    programs = [
        SupervisedProgram(name=name, group=SERVICE_GROUP, command=tuple(command)) for name in SERVICES
    ]
    supervisor.write_config(programs, tmp_path)
    progress = RollbackProgress(target=this_release(), backup="/backups/zmart-1", migrated=True)
    (tmp_path / "run" / "rollback.json").write_bytes(msgspec.json.encode(progress))
    process = start_supervisord(supervisor, tmp_path)
    try:
        yield progress
    finally:
        stop_stack(tmp_path)
        process.wait(10)


def test_a_killed_rollback_is_continued_only_while_its_services_are_stopped(
    begun: RollbackProgress, tmp_path: Path
) -> None:
    supervisor = supervisor_of(tmp_path)
    assert progress_of(tmp_path) == begun
    supervisor.start(f"{SERVICE_GROUP}:gateway")
    wait_for(lambda: any(info.is_up for info in supervisor.processes()))
    assert progress_of(tmp_path) is None
    supervisor.stop(f"{SERVICE_GROUP}:gateway")
    assert progress_of(tmp_path) == begun


def test_a_start_of_the_stack_ends_a_killed_rollback(begun: RollbackProgress, tmp_path: Path) -> None:
    record_release(tmp_path)
    assert progress_of(tmp_path) is None


def test_a_rollback_that_cannot_back_up_starts_the_services_again(
    begun: RollbackProgress, tmp_path: Path
) -> None:
    record_release(tmp_path)
    older = tmp_path / "older"
    older.write_text("#!/bin/sh\necho zmart 0.0.1, commit abc123\n")
    older.chmod(0o755)
    release = msgspec.structs.replace(begun.target, commit="abc123", python=str(older), checkout="")
    supervisor = supervisor_of(tmp_path)
    supervisor.start(*(f"{SERVICE_GROUP}:{name}" for name in SERVICES))
    with pytest.raises(Unavailable):
        roll_back(tmp_path, "postgresql://nobody@127.0.0.1:1/none", release, [], print)
    wait_for(lambda: all(info.is_up for info in supervisor.processes()))
