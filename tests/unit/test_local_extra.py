"""Messages of a production installation, which does not have the packages of the extra `local`."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from zmart.cli import demo, run, stack
from zmart.cli.findings import print_findings
from zmart.local import extra
from zmart.local.doctor import examine

ROOT = Path(__file__).parents[2]
COMMANDS = ("up", "stop", "restart all", "ps", "monit", "logs", "setup", "demo", "run providers", "run chain")
BUILD = {"editables", "hatchling"}


@pytest.fixture
def no_extra(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Simulate an installation without the extra `local`, in an empty folder; return its ZMART_HOME."""
    monkeypatch.setattr(extra, "is_installed", lambda: False)
    monkeypatch.setenv("ZMART_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "home"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_of_the_stack_says_in_one_sentence_what_to_install(no_extra: Path, command: str):
    app = typer.Typer()
    for module in (stack, demo, run):
        module.register(app)
    answer = CliRunner().invoke(app, command.split())
    assert (answer.exit_code, answer.stdout, answer.stderr) == (1, "", f"{extra.MISSING}\n")
    assert not no_extra.exists()


@pytest.mark.parametrize("missing", ["DATABASE_URL", "REDIS_URL", "SOLANA_RPC_URL", None])
def test_the_doctor_misses_the_extra_only_where_a_server_would_be_embedded(
    no_extra: Path, missing: str | None, monkeypatch: pytest.MonkeyPatch
):
    given = {
        "DATABASE_URL": "postgresql://zmart@127.0.0.1:1/zmart",
        "REDIS_URL": "redis://127.0.0.1:1",
        "SOLANA_RPC_URL": "http://127.0.0.1:1",
    }
    for name, value in given.items():
        monkeypatch.setenv(name, "" if name == missing else value)
    stack_finding = next(finding for finding in examine() if finding.name == "stack")
    assert stack_finding.ok == (missing is None)
    assert (stack_finding.sentence == extra.MISSING) == (missing is not None)


def test_the_name_of_the_extra_is_printed_as_it_is(no_extra: Path, capsys: pytest.CaptureFixture[str]):
    assert print_findings(list(examine()), as_json=False) == 1
    assert "pip install 'zmart[local]'" in capsys.readouterr().out


# ---------------------------------------------------------------------------------------------------------- packages


def names(lines: list[str]) -> set[str]:
    """Return the names of the packages in lines of requirements, without versions and extras."""
    result = (re.match(r"[a-z][a-z0-9-]*", line) for line in lines)
    return {match.group() for match in result if match}


def requirements(file: str) -> set[str]:
    return names((ROOT / "requirements" / file).read_text().splitlines())


def test_what_is_pinned_is_what_the_package_and_its_extra_need():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    local = names(project["optional-dependencies"]["local"])
    assert requirements("runtime.in") == names(project["dependencies"]) | {"async-timeout"}
    otel = names(project["optional-dependencies"]["otel"])
    assert requirements("local.in") == local | BUILD
    assert requirements("otel.in") == otel
    assert names(project["dependencies"]) <= requirements("runtime.txt")
    assert local | BUILD <= requirements("local.txt")
    assert otel <= requirements("otel.txt")


def test_every_lock_file_takes_the_versions_of_the_one_before_it():
    runtime, local, otel, dev = (
        set(re.findall(r"^[a-z0-9-]+==\S+", (ROOT / "requirements" / file).read_text(), re.MULTILINE))
        for file in ("runtime.txt", "local.txt", "otel.txt", "dev.txt")
    )
    assert len(runtime) > 50
    assert runtime < local < dev
    assert runtime < otel < dev
