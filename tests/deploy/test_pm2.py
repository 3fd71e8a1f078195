"""Services under PM2, with the deployment plan's names: a killed service is restarted, a stopped one ends orderly."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from kit.installed import ROOT, npm_packages
from kit.local_stack import stack_in
from kit.waiting import wait_for
from zmart.local.chain.node import find_node
from zmart.local.processes import free_port
from zmart.local.stack import read_record
from zmart.services.contract import SERVICES

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]
ECOSYSTEM = ROOT / "deploy" / "pm2" / "ecosystem.config.cjs"
PLAN = {
    "event-indexer": "indexer", "vote-aggregator": "aggregator", "market-monitor": "monitor",
    "api-gateway": "gateway", "websocket-server": "websocket", "ipfs-service": "snapshots",
}  # fmt: skip


class Pm2:
    """PM2 with a home of its own and the environment of its processes."""

    def __init__(self, home: Path, environment: dict[str, str]) -> None:
        self._script = npm_packages(Path(__file__).parents[1] / "kit" / "pm2") / "node_modules/pm2/bin/pm2"
        self._folder = home
        self._environment = {**os.environ, **environment, "PM2_HOME": str(home / "pm2"), "NO_COLOR": "1"}

    def run(self, *words: str) -> str:
        done = subprocess.run(
            [find_node(), str(self._script), *words],
            cwd=self._folder, env=self._environment, capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def processes(self) -> dict[str, dict]:
        return {each["name"]: each for each in json.loads(self.run("jlist"))}


def is_ready(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/ready", trust_env=False, timeout=5).status_code == 200
    except httpx.HTTPError:
        return False


@pytest.fixture
def started(tmp_path: Path) -> Iterator[tuple[Pm2, dict[str, int]]]:
    """Start the six services under PM2, beside a local stack whose database, Redis and chain they use.

    Return PM2 and the services' ports by name.
    """
    home = tmp_path / "home"
    home.mkdir()
    with stack_in(home):
        record = read_record(home)
        assert record is not None
        ports = {service: free_port() for service in SERVICES}
        settings = {field.upper(): str(ports[service]) for service, field in SERVICES.items()}
        pm2 = Pm2(tmp_path, {**record.environment, **settings})
        try:
            pm2.run("start", str(ECOSYSTEM))
            yield pm2, ports
        finally:
            pm2.run("kill")


def test_a_killed_service_returns_and_a_stopped_one_ends_in_order(
    started: tuple[Pm2, dict[str, int]],
) -> None:
    pm2, ports = started
    wait_for(lambda: all(map(is_ready, ports.values())), within_s=90, every_s=0.5)
    before = pm2.processes()
    assert set(before) == set(PLAN)
    assert {each["pm2_env"]["status"] for each in before.values()} == {"online"}
    assert {name: each["pm2_env"]["args"][-1] for name, each in before.items()} == PLAN

    for name in PLAN:
        os.kill(before[name]["pid"], signal.SIGKILL)
    wait_for(lambda: all(map(is_ready, ports.values())), within_s=90, every_s=0.5)
    after = pm2.processes()
    assert {each["pm2_env"]["restart_time"] for each in after.values()} == {1}
    assert not {each["pid"] for each in before.values()} & {each["pid"] for each in after.values()}

    pm2.run("stop", "all")
    assert {each["pm2_env"]["status"] for each in pm2.processes().values()} == {"stopped"}
    assert {each["pm2_env"]["exit_code"] for each in pm2.processes().values()} == {0}, "SIGTERM sufficed"
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"http://127.0.0.1:{ports['gateway']}/health", trust_env=False)
