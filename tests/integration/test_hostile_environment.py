"""Test of `zmart up` in the environment of a user who configured everything else on the machine."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from kit import commands
from kit.waiting import wait_for
from zmart.local.ports import NAMES
from zmart.local.process_group import members
from zmart.services.contract import SERVICES
from zmart.settings import Settings

HOSTILE_NAME = """a%b%%c%(here)s "q" 'p' \\ $x #h ;s #"""
READY_S = 90
NOWHERE = "http://127.0.0.1:9"


def hostile(folder: Path) -> dict[str, str]:
    """Return misleading variables for proxies, libpq, pip, Node.js and others.

    The function also writes modules into `folder` that end a process which imports them.
    """
    for name in ("redis", "supervisor", "msgspec"):
        (folder / f"{name}.py").write_text("raise SystemExit('hijacked')")
    proxies = ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "ws_proxy", "wss_proxy")
    return {
        **dict.fromkeys(proxies, NOWHERE),
        "ALL_PROXY": "socks5://127.0.0.1:9", "all_proxy": "socks5://127.0.0.1:9",
        "PGHOST": "10.255.255.1", "PGPORT": "1", "PGUSER": "nobody", "PGDATABASE": "none", "PGPASSWORD": "wrong",
        "PGSSLMODE": "require", "PGSSLROOTCERT": "/nowhere.pem", "PGOPTIONS": "-c nothing=1", "PGSERVICE": "none",
        "PGTARGETSESSIONATTRS": "standby", "PGDATA": "/nowhere", "PGPASSFILE": "/nowhere", "PGCLIENTENCODING": "LATIN1",
        "PIP_USER": "1", "PIP_TARGET": "/nowhere", "PYTHONSTARTUP": "/nowhere",
        "NODE_OPTIONS": "--require /nowhere.js", "NODE_PATH": "/nowhere", "npm_config_global": "true",
        "REDIS_PORT": "tcp://10.0.0.7:6379", "POSTGRES_PORT": "tcp://10.0.0.8:5432", "API_PORT_4000_TCP": "tcp://x",
        "BASH_ENV": "/nowhere", "PERCENT": "100 %s %(x)s", "LOG_LEVEL": "INFO", "LC_ALL": "xx_YY", "TZ": "Asia/Kolkata",
    }  # fmt: skip


@pytest.fixture
def home(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    home = tmp_path / HOSTILE_NAME
    home.mkdir()
    (home / "node").symlink_to(request.config.rootpath / ".zmart" / "node")
    yield home
    assert members(home) == []


def test_a_fresh_stack_starts_works_and_stops_in_a_hostile_environment(home: Path) -> None:
    """W8, W22, W23, W24: a new stack starts, works and stops in a hostile environment.

    Proxies and the variables of libpq and Node.js mislead, the working folder has modules that end a process, and the
    name of the home has every character that is special to some parser.
    """
    ours = {name.upper() for name in Settings.model_fields}
    environment = {
        **{name: value for name, value in os.environ.items() if name not in ours},
        **{name.upper(): "0" for name in NAMES},
        **hostile(home),
        "ZMART_HOME": str(home),
        "ZMART_ENV_FILE": os.devnull,
    }
    command = [commands.ZMART[0], "-P", *commands.ZMART[1:]]
    output = home / "up.txt"
    with output.open("wb") as file:
        up = subprocess.Popen(
            [*command, "up"], env=environment, cwd=home, stdin=subprocess.DEVNULL, stdout=file, stderr=file
        )
    try:
        wait_for(lambda: "WebSocket" in output.read_text() or up.poll() is not None, READY_S)
        assert up.poll() is None, output.read_text()
        found = zmart(command, environment, home, "ps", "--json")
        rows = {row["name"]: row for row in json.loads(found)}
        assert all(rows[name]["ready"] for name in SERVICES), rows
        assert "up to date" in zmart(command, environment, home, "migrate", "status")
        assert "GlobalConfig names our keys" in zmart(command, environment, home, "doctor")
    finally:
        up.send_signal(signal.SIGTERM)
        assert up.wait(60) == 0


def zmart(command: list[str], environment: dict[str, str], home: Path, *arguments: str) -> str:
    done = subprocess.run(
        [*command, *arguments],
        env=environment,
        cwd=home,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
