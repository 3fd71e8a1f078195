"""A stack whose database was restored decides nothing, however it is started, until the operator releases it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from kit.stack_home import Home
from kit.waiting import wait_for
from zmart.local import held_decisions
from zmart.local.startup import stop_stack

RELEASE = "zmart up --release-decisions"


@pytest.fixture
def home(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Home]:
    home = Home(tmp_path / "home", request.config.rootpath / ".zmart" / "node")
    try:
        yield home
    finally:
        stop_stack(home.folder)


def done(home: Home, *arguments: str) -> str:
    """Run a command that must succeed; return its output on one line."""
    result = home.zmart(*arguments)
    assert result.returncode == 0, result.stdout + result.stderr
    return " ".join((result.stdout + result.stderr).split())


def is_held(home: Home) -> bool:
    """Return whether the aggregator and the monitor hold their decisions; both must say the same."""
    wait_for(home.all_ready, 60)
    paths = home.record()["ready_paths"]
    held = {
        httpx.get(paths[name], trust_env=False).json()["details"]["decisions_held"]
        for name in ("aggregator", "monitor")
    }
    assert len(held) == 1
    return bool(held.pop())


def restart_stack(home: Home, *options: str) -> str:
    done(home, "stop")
    return done(home, "up", "--detach", *options)


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_a_restored_stack_is_held_by_each_start_until_it_is_released(home: Home) -> None:
    done(home, "up", "--detach")
    assert not is_held(home)
    done(home, "backup")
    assert RELEASE in done(home, "restore", "--yes")
    assert RELEASE in done(home, "restart", "all")
    assert is_held(home)
    assert RELEASE in done(home, "ps")
    for command in ("aggregate", "finalize", "demo"):
        refused = home.zmart(command)
        assert (refused.returncode, RELEASE in refused.stderr) == (1, True), refused.stderr
    assert RELEASE in restart_stack(home)
    assert is_held(home)
    assert "zmart stop" in home.zmart("up", "--release-decisions", "--detach").stderr
    assert is_held(home)
    assert RELEASE not in restart_stack(home, "--release-decisions")
    assert not is_held(home)


@pytest.mark.timeout(120)
def test_a_stack_that_was_started_held_is_held_by_later_starts(home: Home) -> None:
    assert RELEASE in done(home, "up", "--detach", "--hold-decisions")
    assert is_held(home)
    restart_stack(home)
    assert is_held(home)
    home.environment["HOLD_DECISIONS"] = "true"
    done(home, "stop")
    refused = home.zmart("up", "--detach", "--release-decisions")
    assert (refused.returncode, "unset it first" in refused.stderr) == (1, True), refused.stderr
    assert held_decisions.is_held(home.folder)
