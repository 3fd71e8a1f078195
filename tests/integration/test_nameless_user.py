"""Tests with a user id that has no name and no home folder, as in containers that run with any user id."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from kit import nameless
from zmart.cli.system_user import system_user
from zmart.local.chain import node

ROOT = Path(__file__).parents[2]
ZMART = ("-P", "-m", "zmart.cli")
POSTGRES = """
import sys
from pathlib import Path
from zmart.local.postgres import Postgres
from zmart.local.processes import free_port
server = Postgres(Path(sys.argv[1]), free_port(), durable=False)
server.start()
try:
    print(server.run_as.value, server._client("createdb", "another").returncode)
finally:
    server.stop()
"""
SUPERVISORD = """
import subprocess, sys
from pathlib import Path
from zmart.local.processes import wait_until
from zmart.local.supervision import SupervisedProgram, Supervisor
home = Path(sys.argv[1])
supervisor = Supervisor(home / "run", home / "logs")
supervisor.write_config([SupervisedProgram(name="a", group="g", command=("sleep", "1000"))], home)
with (home / "out").open("wb") as out:
    process = subprocess.Popen(supervisor.command(), stdout=out, stderr=out)
try:
    wait_until(supervisor.answers, "supervisord", 30, process, home / "out")
    print(len(supervisor.processes()))
    supervisor.shut_down()
    process.wait(30)
finally:
    process.kill()
"""


def test_postgresql_is_made_and_made_again(tmp_path: Path) -> None:
    """P16: PostgreSQL is set up for a user without a name, whom initdb refuses, and starts again on the same files."""
    for _ in range(2):
        done = nameless.python("-c", POSTGRES, str(tmp_path))
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith("namespace ")


def test_the_supervisor_starts(tmp_path: Path) -> None:
    """P16: supervisord starts for a user without a name."""
    done = nameless.python("-c", SUPERVISORD, str(tmp_path))
    assert (done.returncode, done.stdout) == (0, "1\n"), done.stderr


@pytest.mark.parametrize(
    ("command", "database_url", "says"),
    [
        (["migrate", "status"], "postgresql:///db?host=/nowhere", "DATABASE_URL names no user"),
        (["migrate", "status"], "postgresql://127.0.0.1:9/db", "DATABASE_URL names no user"),
        (["migrate", "status"], "postgresql://127.0.0.1:9/db?user=u", "PostgreSQL does not answer"),
        (
            ["decisions", "release", "ab" * 32, "--note", "x"],
            "postgresql://u@127.0.0.1:9/db",
            "does not answer",
        ),
        (["ps"], "postgresql://u@127.0.0.1:9/db", "No stack runs"),
    ],
    ids=["a socket without a user", "a host without a user", "a user in the query", "release", "ps"],
)
def test_commands_say_a_sentence(tmp_path: Path, command: list[str], database_url: str, says: str) -> None:
    """P16: a command ends with one sentence and no traceback; it needs a user name only if DATABASE_URL has none."""
    done = nameless.python(*ZMART, *command, DATABASE_URL=database_url, ZMART_HOME=str(tmp_path))
    assert len((done.stdout + done.stderr).splitlines()) == 1, done.stderr
    assert says in done.stdout + done.stderr


@pytest.mark.parametrize(
    "error", [KeyError("uid not found"), OSError("No username set in the environment")], ids=repr
)
def test_an_operator_without_a_name_is_stored_by_the_number(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """P16: an operator without a name is stored by number, with the errors of Python up to 3.12 and from 3.13 on."""

    def fail() -> str:
        raise error

    monkeypatch.setattr("getpass.getuser", fail)
    assert system_user() == f"user {os.getuid()}"


def test_make_gives_pip_and_npm_a_home_where_there_is_none(tmp_path: Path) -> None:
    """P16: `make` gives pip and npm a home folder if there is none.

    Without one pip ends with a traceback, and npm without a reason.
    """
    rule = "print-home: ; @echo $$HOME"
    for given, home in (
        ({}, f"{ROOT}/.venv/.home"),
        ({"HOME": ""}, f"{ROOT}/.venv/.home"),
        ({"HOME": "/h"}, "/h"),
    ):
        done = subprocess.run(
            ["make", "-s", "--eval", rule, "print-home"], cwd=ROOT, capture_output=True, text=True, check=True,
            env={"PATH": os.environ["PATH"], **given},
        )  # fmt: skip
        assert done.stdout.strip() == home


def test_npm_has_a_home_or_a_cache_of_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """P16: npm gets a home folder if there is none, and a cache of its own if the home folder cannot be used."""
    monkeypatch.delenv("HOME")
    assert node._home_for_npm(tmp_path) == {"HOME": str(tmp_path)}
    monkeypatch.setenv("HOME", "/proc/self/nowhere")
    assert node._home_for_npm(tmp_path) == {"npm_config_cache": str(tmp_path / ".npm")}
    monkeypatch.setenv("HOME", str(tmp_path))
    assert node._home_for_npm(tmp_path) == {}
