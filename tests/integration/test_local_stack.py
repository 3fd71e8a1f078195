"""`zmart up` as its user has it: the whole stack, in processes, with nothing left behind."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest

from kit import commands
from kit.waiting import wait_for
from zmart.cli import stack_output
from zmart.local.ports import NAMES
from zmart.local.postgres import Postgres
from zmart.local.process_group import members
from zmart.local.stack import supervisor_of
from zmart.services.contract import SERVICES
from zmart.settings import Settings

READY_SECONDS = 90
SERVERS = ("postgres", "valkey", "chain", "providers")


class Home:
    """A ZMART_HOME with the addon in it, and the `zmart` command for it."""

    def __init__(self, folder: Path, addon: Path, **settings: str) -> None:
        self.folder = folder.resolve()
        self.folder.mkdir(exist_ok=True)
        (self.folder / "node").symlink_to(addon)
        ours = {name.upper() for name in Settings.model_fields}
        self.environment = {
            **{name: value for name, value in os.environ.items() if name not in ours},
            **{name.upper(): "0" for name in NAMES},
            "ZMART_HOME": str(self.folder),
            "ZMART_ENV_FILE": os.devnull,
            **settings,
        }
        self.ups = 0

    def zmart(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*commands.ZMART, *arguments],
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=READY_SECONDS,
        )

    def up(self) -> Up:
        self.ups += 1
        return Up(self, self.folder / f"up{self.ups}.txt")

    def ps(self) -> dict[str, Any]:
        return {row["name"]: row for row in json.loads(self.zmart("ps", "--json").stdout or "[]")}

    def processes(self) -> dict[str, stack_output.ProcessRow]:
        """What `zmart ps` shows, asked from here: to start the command again and again takes longer than the wait."""
        return {row.name: row for row in stack_output.rows(self.folder)}

    def all_ready(self) -> bool:
        found = self.processes()
        running = all(row.state == "running" for row in found.values())
        return len(found) == 10 and running and all(found[name].ready for name in SERVICES)

    def record(self) -> dict[str, Any]:
        result: dict[str, Any] = json.loads((self.folder / "run" / "stack.json").read_text())
        return result

    def slot(self) -> int:
        question = b'{"jsonrpc":"2.0","id":1,"method":"getSlot","params":[{"commitment":"processed"}]}'
        request = urllib.request.Request(
            self.record()["environment"]["SOLANA_RPC_URL"], question, {"content-type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            return int(json.load(answer)["result"])


class Up:
    """A `zmart up` in the foreground."""

    def __init__(self, home: Home, output: Path) -> None:
        self.home = home
        self.output = output
        with output.open("wb") as file:
            self.process = subprocess.Popen(
                [*commands.ZMART, "up"],
                env=home.environment,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                start_new_session=True,
            )

    @property
    def said(self) -> str:
        return self.output.read_text()

    def ready(self) -> Up:
        wait_for(lambda: "WebSocket" in self.said or self.process.poll() is not None, READY_SECONDS)
        assert self.process.poll() is None, self.said
        return self

    def end(self, how: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(how)
        return self.process.wait(60)


@pytest.fixture(scope="module")
def addon(request: pytest.FixtureRequest) -> Path:
    return request.config.rootpath / ".zmart" / "node"


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, addon: Path) -> Iterator[Home]:
    """A stack that several tests look at and hurt; each leaves it ready again."""
    home = Home(tmp_path_factory.mktemp("stack"), addon)
    up = home.up()
    try:
        up.ready()
        yield home
    finally:
        assert up.end() == 0
        assert members(home.folder) == []


@pytest.fixture
def home(tmp_path: Path, addon: Path) -> Iterator[Home]:
    home = Home(tmp_path / "home", addon)
    yield home
    home.zmart("stop")
    assert members(home.folder) == []


def test_every_service_is_ready(shared: Home) -> None:
    rows = shared.ps()
    assert set(rows) == {*SERVERS, *SERVICES}
    assert all(rows[name]["ready"] for name in SERVICES)
    assert sum(row["memory_mib"] for row in rows.values()) < 700


def test_the_doctor_of_a_healthy_stack_finds_nothing(shared: Home) -> None:
    result = shared.zmart("doctor", "--json")
    assert result.returncode == 0, result.stdout
    assert any("GlobalConfig names our keys" in finding["sentence"] for finding in json.loads(result.stdout))


def test_a_second_up_shows_the_running_stack(shared: Home) -> None:
    second = shared.zmart("up", "--json", "--detach")
    assert second.returncode == 0
    assert json.loads(second.stdout)["addresses"] == shared.record()["addresses"]
    assert "already running" in second.stderr


def test_fresh_refuses_while_the_stack_runs(shared: Home) -> None:
    refused = shared.zmart("up", "--fresh")
    assert refused.returncode == 1
    assert "zmart stop" in refused.stderr


def test_the_addresses_hold_no_password(shared: Home) -> None:
    record = shared.record()
    displayed = json.dumps(record["addresses"])
    assert record["environment"]["DATABASE_URL"].split(":")[2].split("@")[0] not in displayed
    assert (shared.folder / "run" / "stack.json").stat().st_mode & 0o077 == 0


def test_every_printed_address_answers(shared: Home) -> None:
    """P18: pages with 200, the API with its index, the sockets with a handshake."""
    addresses: dict[str, str] = shared.record()["addresses"]
    assert set(addresses) >= {
        "explorer",
        "API",
        "API reference",
        "dashboard",
        "WebSocket",
        "PostgreSQL",
        "Redis",
    }
    for name in ("explorer", "API", "API reference", "dashboard"):
        assert httpx.get(addresses[name]).status_code == 200, name
    index = httpx.get(addresses["API"]).json()
    base = addresses["API"].removesuffix("/api")
    for path in ("documentation", "openapi", "asyncapi", "health", "status"):
        assert httpx.get(base + index[path]).status_code == 200, path
    assert {"method": "GET", "path": "/api/markets", "summary": "List markets"} in index["calls"]
    assert index["websocket"] == addresses["WebSocket"]


def test_the_database_and_redis_are_opened_without_a_password_to_type(shared: Home) -> None:
    """P18, U16: the plan's `psql` and `redis-cli ping`."""
    counted = shared.zmart("psql", "-At", "-c", "SELECT count(*) FROM markets")
    assert (counted.returncode, counted.stdout) == (0, "0\n"), counted.stderr
    ponged = shared.zmart("redis-cli", "ping")
    assert (ponged.returncode, ponged.stdout) == (0, "PONG\n"), ponged.stderr
    assert shared.zmart("redis-cli", "SET", "zmart:test", "ä b", "EX", "60").stdout == "OK\n"
    assert shared.zmart("redis-cli", "MGET", "zmart:test", "zmart:none").stdout == "ä b\n(nil)\n"
    refused = shared.zmart("redis-cli", "NOSUCH")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "unknown command" in refused.stderr


def test_up_prints_the_settings_of_a_front_end_which_may_call_it(shared: Home) -> None:
    """U2, P12: a page on another port of this machine works with the stack as it is."""
    said = (shared.folder / "up1.txt").read_text()
    printed = dict(line.split("=", 1) for line in said.splitlines() if line.startswith("NEXT_PUBLIC_"))
    assert printed == shared.record()["page_settings"]
    page = {"origin": "http://localhost:3000"}
    answer = httpx.get(f"{printed['NEXT_PUBLIC_API_URL']}/api/markets?path=api&path=markets", headers=page)
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == page["origin"]
    version = {"jsonrpc": "2.0", "id": 1, "method": "getVersion"}
    assert "result" in httpx.post(printed["NEXT_PUBLIC_SOLANA_RPC_URL"], json=version).json()
    assert "zmart psql" in said


@pytest.mark.parametrize("name", ["postgres", "valkey", "chain"])
def test_kill_9_of_a_server_is_healed(shared: Home, name: str) -> None:
    before = shared.ps()[name]
    os.kill(before["pid"], signal.SIGKILL)
    wait_for(lambda: shared.processes()[name].pid not in (0, before["pid"]))
    wait_for(shared.all_ready)
    assert shared.ps()[name]["restarts"] == before["restarts"] + 1


def test_a_service_is_restarted_by_name(shared: Home) -> None:
    before = shared.ps()["monitor"]["pid"]
    assert shared.zmart("restart", "monitor").stdout == "Restarted monitor.\n"
    wait_for(shared.all_ready)
    assert shared.ps()["monitor"]["pid"] != before


def test_a_name_that_does_not_exist_is_one_sentence(shared: Home) -> None:
    for command in ("restart", "logs"):
        refused = shared.zmart(command, "monitr")
        assert refused.returncode == 1
        assert "monitor" in refused.stderr
        assert len(refused.stderr.splitlines()) == 1


def test_logs_are_shown_by_service(shared: Home) -> None:
    displayed = shared.zmart("logs", "chain", "-n", "1").stdout
    assert displayed.startswith("the chain answers on")


def test_a_stack_stops_by_command_and_goes_on_where_it_was(home: Home) -> None:
    up = home.up().ready()
    slot, ports = home.slot(), home.record()["ports"]
    assert home.zmart("stop").stdout == "Stopped.\n"
    assert up.process.wait(20) == 0
    assert members(home.folder) == []
    assert not supervisor_of(home.folder).socket.exists()
    up = home.up().ready()
    assert home.record()["ports"] == ports
    assert home.slot() > slot
    assert up.end(signal.SIGINT) == 0
    assert members(home.folder) == []


def test_kill_9_of_up_or_of_its_supervisor_leaves_nothing(home: Home) -> None:
    up = home.up().ready()
    os.kill(int((home.folder / "run" / "supervisord.pid").read_text()), signal.SIGKILL)
    assert up.process.wait(30) == 1
    assert "zmart up" in up.said
    assert members(home.folder) == []
    up = home.up().ready()
    up.process.kill()
    up.process.wait()
    wait_for(lambda: not members(home.folder))


def test_a_stop_in_the_middle_of_a_start_leaves_nothing(home: Home) -> None:
    up = home.up()
    wait_for(lambda: "valkey is ready" in up.said)
    assert up.end(signal.SIGINT) == 1
    assert "Stopped while starting." in up.said
    assert members(home.folder) == []


def test_a_taken_port_is_said_before_anything_starts(home: Home) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        home.environment["API_PORT"] = str(port)
        refused = home.zmart("up")
    assert refused.returncode == 1
    assert f"API_PORT is {port}" in refused.stderr
    assert members(home.folder) == []


def test_a_service_that_cannot_start_is_named_with_its_reason(home: Home) -> None:
    home.environment["ADMIN_KEYPAIR_PATH"] = "/nowhere/key.json"
    refused = home.zmart("up")
    assert refused.returncode == 1
    assert re.fullmatch(
        r"\w+ does not start: ADMIN_KEYPAIR_PATH names /nowhere/key.json, .*\n", refused.stderr
    )
    assert members(home.folder) == []


def test_no_doubt_about_the_chain_costs_the_database(home: Home) -> None:
    """C14: a torn record of the chain, then a chain that is not there any more."""
    assert home.zmart("up", "--detach").returncode == 0
    record = home.folder / "postgres" / "chain"
    whole = record.read_text()
    query(home, "INSERT INTO users (wallet) VALUES ($1)", whole)
    home.zmart("stop")
    record.write_text(whole[:20])
    second_result = home.zmart("up", "--detach")
    assert second_result.returncode == 0, second_result.stderr
    assert query(home, "SELECT wallet FROM users WHERE wallet = $1", whole) == [(whole,)]
    assert record.read_text() == whole
    home.zmart("stop")
    (home.folder / "chain" / "journal").rename(home.folder / "journal")
    refused = home.zmart("up", "--detach")
    assert refused.returncode == 1
    assert "Nothing was deleted" in refused.stderr.replace("\n", " ")
    assert "zmart up --fresh" in refused.stderr.replace("\n", " ")
    assert members(home.folder) == []
    server = Postgres(home.folder / "postgres", home.record()["ports"]["local_postgres_port"])
    server.start()
    try:
        assert query(home, "SELECT wallet FROM users WHERE wallet = $1", whole) == [(whole,)]
    finally:
        server.stop()


def query(home: Home, statement: str, *values: str) -> list[tuple[object, ...]]:
    async def ask() -> list[tuple[object, ...]]:
        connection = await asyncpg.connect(home.record()["environment"]["DATABASE_URL"])
        try:
            return [tuple(row) for row in await connection.fetch(statement, *values)]
        finally:
            await connection.close()

    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, ask()).result()


def test_servers_that_settings_name_are_used_and_not_started(
    home: Home, empty_database_url: str, redis_url: str
) -> None:
    home.environment |= {"DATABASE_URL": empty_database_url, "REDIS_URL": redis_url}
    up = home.up().ready()
    assert set(home.ps()) == {"chain", "providers", *SERVICES}
    assert home.zmart("migrate", "status").returncode == 0
    assert home.zmart("doctor").returncode == 0
    assert up.end() == 0


def test_commands_without_a_stack_say_how_to_start_one(home: Home) -> None:
    refused = home.zmart("ps")
    assert refused.returncode == 1
    assert "zmart up" in refused.stderr
    assert home.zmart("stop").stdout == "No stack runs here.\n"
