"""Decisions that a restore has held are made by no start of the stack until the operator releases them."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import cast

import msgspec
import pytest

from zmart.errors import ConfigError
from zmart.local import held_decisions
from zmart.local.doctor import examine
from zmart.local.environment import environment, parts_of
from zmart.local.local_secrets import load_secrets
from zmart.local.ports import NAMES
from zmart.local.releases import StackRelease, record_release, rollback_file, this_release
from zmart.local.rollback import RollbackProgress, roll_back, start_services
from zmart.local.stack import StackRecord, erase_home
from zmart.local.state_files import DamagedState
from zmart.local.supervision import Supervisor
from zmart.settings import load_settings

ELSEWHERE = "postgresql://user:password@127.0.0.1:1/elsewhere"
# The release that is started again: it knows HOLD_DECISIONS, but not the mark.
OLDER = """#!/bin/sh
case "$*" in
*--version*) echo "zmart 0.0.1, commit abc123" ;;
*"up --detach"*) echo "held: $HOLD_DECISIONS" > "{home}/started" ;;
esac
"""


def record(home: Path, **given: str) -> None:
    stack = StackRecord(environment=given, ports={}, addresses={}, ready_paths={}, started_at=0)
    (home / "run").mkdir(exist_ok=True)
    (home / "run" / "stack.json").write_bytes(msgspec.json.encode(stack))


def the_older_release(home: Path) -> StackRelease:
    older = home / "older"
    older.write_text(OLDER.format(home=home))
    older.chmod(0o755)
    return msgspec.structs.replace(this_release(), commit="abc123", python=str(older), checkout="")


def start_of_the_older_release(home: Path) -> str:
    """Continue a rollback whose stack has been stopped, and return what the older release was started with."""
    target = the_older_release(home)
    rollback_file(home).parent.mkdir(exist_ok=True)
    rollback_file(home).write_bytes(msgspec.json.encode(RollbackProgress(target=target, migrated=True)))
    roll_back(home, ELSEWHERE, target, [], print)
    return (home / "started").read_text().strip()


def test_a_service_that_a_held_stack_starts_is_held_until_the_release(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held_decisions.hold(tmp_path)
    assert not held_decisions.is_held_here(), "a service of no stack reads HOLD_DECISIONS only"
    monkeypatch.setenv("ZMART_STACK", str(tmp_path))
    assert held_decisions.is_held_here()
    held_decisions.release(tmp_path)
    assert not held_decisions.is_held_here()


def test_a_rollback_of_a_held_stack_starts_the_older_release_held(tmp_path: Path) -> None:
    assert start_of_the_older_release(tmp_path) == "held:"
    held_decisions.hold(tmp_path)
    assert start_of_the_older_release(tmp_path) == "held: true"
    assert held_decisions.is_held(tmp_path)


def test_a_rollback_holds_a_stack_that_was_started_with_the_setting_in_another_shell(tmp_path: Path) -> None:
    settings = load_settings(zmart_home=tmp_path, hold_decisions=True)
    (tmp_path / "keys").mkdir()
    secrets = load_secrets(tmp_path / "keys")
    parts, ports = parts_of(settings), dict.fromkeys(NAMES, 1)
    record(tmp_path, **environment(settings, parts, ports, secrets, database_url="", redis_url=""))
    assert start_of_the_older_release(tmp_path) == "held: true"
    record(tmp_path)
    assert start_of_the_older_release(tmp_path) == "held: true", "the older release recorded nothing of it"


def test_a_restart_is_refused_if_the_release_that_runs_may_not_know_that_decisions_are_held(
    tmp_path: Path,
) -> None:
    with pytest.raises(ConfigError, match="another release started this stack"):
        held_decisions.require_holding(tmp_path)
    record(tmp_path, HOLD_DECISIONS="true")
    held_decisions.require_holding(tmp_path)
    record(tmp_path)
    record_release(tmp_path)
    held_decisions.require_holding(tmp_path)


def test_only_a_restore_of_the_stacks_own_database_holds_it(tmp_path: Path) -> None:
    assert held_decisions.concerns(tmp_path, ELSEWHERE), "no stack has run yet: its first one may use it"
    record(tmp_path)
    assert held_decisions.concerns(tmp_path, ELSEWHERE)
    record(tmp_path, DATABASE_URL="postgresql://embedded")
    assert not held_decisions.concerns(tmp_path, ELSEWHERE)
    assert held_decisions.concerns(tmp_path, "postgresql://embedded")


@pytest.mark.parametrize("url", ["", ELSEWHERE], ids=["embedded", "elsewhere"])
def test_fresh_releases_decisions_only_if_it_deletes_the_database(tmp_path: Path, url: str) -> None:
    held_decisions.hold(tmp_path)
    erase_home(load_settings(zmart_home=tmp_path, database_url=url))
    assert held_decisions.is_held(tmp_path) is bool(url)


def test_the_doctor_says_that_decisions_are_held_and_how_to_release_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZMART_HOME", str(tmp_path))
    assert "decisions" not in [finding.name for finding in examine()]
    held_decisions.hold(tmp_path)
    (finding,) = [finding for finding in examine() if finding.name == "decisions"]
    assert not finding.ok
    assert "zmart up --release-decisions" in finding.sentence


@pytest.mark.parametrize(
    ("url", "is_own"),
    [
        ("postgresql://zmart:x@127.0.0.1:5544/zmart", True),
        ("postgres://other@localhost:5544/zmart?sslmode=disable", True),
        ("postgresql://a:5544,b:5544/zmart", True),  # in doubt
        ("postgresql:///zmart?host=/tmp/socket", True),
        ("postgresql://zmart:x@127.0.0.1:5545/zmart", False),
        ("postgresql://zmart:x@127.0.0.1:5544/another", False),
        ("postgresql://zmart:x@db.example:5544/zmart", False),
    ],
)
def test_a_restore_holds_the_stack_unless_its_database_is_certainly_another_one(
    tmp_path: Path, url: str, is_own: bool
) -> None:
    record(tmp_path, DATABASE_URL="postgresql://zmart:secret@127.0.0.1:5544/zmart")
    assert held_decisions.concerns(tmp_path, url) is is_own


def test_a_rollback_that_cannot_begin_holds_nothing(tmp_path: Path) -> None:
    record(tmp_path, HOLD_DECISIONS="true")
    with pytest.raises(ConfigError, match="No stack runs"):
        roll_back(tmp_path, ELSEWHERE, the_older_release(tmp_path), [], print)
    assert not held_decisions.is_held(tmp_path)


def test_services_that_may_not_know_that_decisions_are_held_stay_stopped(tmp_path: Path) -> None:
    """A rollback whose backup failed starts the services again with the release that started the stack."""
    started: list[object] = []
    supervisor = cast("Supervisor", SimpleNamespace(start=lambda *names: started.append(names)))
    record(tmp_path)
    start_services(tmp_path, supervisor)
    held_decisions.hold(tmp_path)
    with pytest.raises(ConfigError, match="another release started this stack"):
        start_services(tmp_path, supervisor)
    assert len(started) == 1


def test_a_record_that_cannot_be_read_is_not_taken_for_one_that_holds_nothing(tmp_path: Path) -> None:
    record(tmp_path, HOLD_DECISIONS="true")
    assert held_decisions.starts_held(tmp_path)
    (tmp_path / "run" / "stack.json").write_text("{")
    with pytest.raises(DamagedState):
        held_decisions.starts_held(tmp_path)
    assert held_decisions.concerns(tmp_path, ELSEWHERE)
