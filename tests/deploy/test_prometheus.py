"""Prometheus accepts the configuration and the rules of deploy/, and every test case of the rules holds."""

import shutil
import subprocess
from pathlib import Path

import httpx
import pytest
from prometheus_server import running_prometheus

from kit.installed import program
from kit.waiting import wait_for

PROMETHEUS = Path(__file__).parents[2] / "deploy" / "prometheus"


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [
        ("check", "config", "prometheus.yml"),
        ("check", "rules", "alerts.yml"),
        ("test", "rules", "alerts_test.yml"),
    ],
    ids=" ".join,
)
def test_promtool_finds_nothing_wrong(words: tuple[str, ...]) -> None:
    promtool = program("promtool", "prometheus")
    done = subprocess.run([promtool, *words], cwd=PROMETHEUS, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "SUCCESS" in done.stdout


def alertmanagers(url: str) -> list[str]:
    """Return the Alertmanagers that a running Prometheus sends alerts to; none before it answers."""
    try:
        answer = httpx.get(f"{url}/api/v1/alertmanagers", timeout=5, trust_env=False).json()
    except httpx.TransportError:
        return []
    return [one["url"] for one in answer["data"]["activeAlertmanagers"]]


@pytest.mark.slow
def test_alerts_are_sent_to_the_alertmanagers_of_the_file(tmp_path: Path) -> None:
    folder = shutil.copytree(PROMETHEUS, tmp_path / "etc")
    example = (folder / "alertmanagers.yml").read_text("utf-8").splitlines()[1].removeprefix("# ")
    (folder / "alertmanagers.yml").write_text(example + "\n", "utf-8")
    with running_prometheus(folder) as url:
        wait_for(lambda: alertmanagers(url), within_s=60)
        urls = alertmanagers(url)
    assert urls == ["http://alertmanager.example.org:9093/api/v2/alerts"]
