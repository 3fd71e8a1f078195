"""Prometheus accepts the configuration and the rules of deploy/, and every test case of the rules holds."""

import subprocess
from pathlib import Path

import pytest

from kit.installed import program

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
