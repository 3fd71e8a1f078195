"""A stack that has played many demos still starts within seconds and is healthy."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator

import pytest

from kit import commands
from kit.stack_home import Home
from zmart.local.process_group import members
from zmart.services.contract import SERVICES

pytestmark = pytest.mark.slow

DEMOS = 30
STARTS = 5
BACK_WITHIN_S = 6.0


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Home]:
    home = Home(tmp_path_factory.mktemp("many") / "home", request.config.rootpath / ".zmart" / "node")
    assert home.zmart("up", "--detach").returncode == 0
    yield home
    home.zmart("stop")
    assert members(home.folder) == []


def played(home: Home) -> dict[str, object]:
    done = subprocess.run(
        [*commands.ZMART, "demo", "--json"], env=home.environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    result: dict[str, object] = json.loads(done.stdout)
    return result


def test_after_30_demos_the_stack_is_back_within_six_seconds_of_up(home: Home) -> None:
    for number in range(DEMOS):
        began = time.monotonic()
        played(home)
        print(f"demo {number + 1}: {time.monotonic() - began:.1f} s")
    for _ in range(STARTS):
        began = time.monotonic()
        assert home.zmart("stop").returncode == 0
        stopped = time.monotonic()
        assert home.zmart("up", "--detach").returncode == 0
        back_s = time.monotonic() - stopped
        print(f"stop {stopped - began:.1f} s, up {back_s:.1f} s")
        assert back_s < BACK_WITHIN_S
        rows = home.ps()
        assert all(rows[name]["ready"] for name in SERVICES), rows
        assert home.zmart("doctor").returncode == 0
