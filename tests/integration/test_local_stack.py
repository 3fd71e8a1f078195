"""Tests of `zmart up` as its user runs it: one stack of processes, which the tests examine and damage."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
from collections.abc import Iterator
from urllib.parse import urlsplit

import httpx
import pytest
from websockets.sync.client import connect

from kit.stack_home import Home
from kit.waiting import wait_for
from zmart.local.process_group import members
from zmart.services.contract import SERVICES

SERVERS = ("postgres", "valkey", "chain", "providers")


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Home]:
    """Yield a stack that several tests examine and damage; each test leaves it ready again."""
    home = Home(tmp_path_factory.mktemp("stack"), request.config.rootpath / ".zmart" / "node")
    up = home.up()
    try:
        up.ready()
        yield home
    finally:
        assert up.end() == 0
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


@pytest.mark.parametrize("content", [None, b"", b"{"], ids=["removed", "empty", "torn"])
def test_the_record_of_a_running_stack_is_written_again(shared: Home, content: bytes | None) -> None:
    """C14: `zmart up` writes a lost stack.json again, and no process is started again for that."""
    path, pids = shared.folder / "run" / "stack.json", {row.pid for row in shared.processes().values()}
    before = shared.record()
    path.unlink() if content is None else path.write_bytes(content)
    try:
        shared.environment["PINATA_JWT"] = "of another account"
        refused = shared.zmart("up", "--detach")
        assert (refused.returncode, "PINATA_JWT" in refused.stderr) == (1, True), refused.stderr
        del shared.environment["PINATA_JWT"]
        again = shared.zmart("up", "--detach")
        assert again.returncode == 0, again.stderr
        assert {**shared.record(), "started_at": 0} == {**before, "started_at": 0}
        assert abs(shared.record()["started_at"] - before["started_at"]) < 90
    finally:
        shared.environment.pop("PINATA_JWT", None)
        path.write_text(json.dumps(before))
    assert {row.pid for row in shared.processes().values()} == pids
    assert shared.zmart("psql", "-At", "-c", "SELECT 1").stdout == "1\n"


def test_fresh_refuses_while_the_stack_runs(shared: Home) -> None:
    refused = shared.zmart("up", "--fresh")
    assert refused.returncode == 1
    assert "zmart stop" in refused.stderr


def test_decisions_of_a_running_stack_cannot_be_held_by_a_second_up(shared: Home) -> None:
    """The running services decide: to say that the stack runs already would be taken for held decisions."""
    refused = shared.zmart("up", "--hold-decisions", "--detach")
    assert refused.returncode == 1
    assert "zmart stop" in refused.stderr


def test_the_addresses_hold_no_password(shared: Home) -> None:
    record = shared.record()
    displayed = json.dumps(record["addresses"])
    assert record["environment"]["DATABASE_URL"].split(":")[2].split("@")[0] not in displayed
    assert (shared.folder / "run" / "stack.json").stat().st_mode & 0o077 == 0


def test_every_printed_address_answers(shared: Home) -> None:
    """P18: every printed page answers with 200, and so do the API's index and the paths in it; the servers accept."""
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
    with connect(addresses["WebSocket"]) as client:
        assert client.ping().wait(5)
    for name in ("PostgreSQL", "Redis"):
        address = urlsplit(addresses[name])
        assert address.port is not None
        socket.create_connection((address.hostname, address.port), timeout=5).close()
    index = httpx.get(addresses["API"]).json()
    base = addresses["API"].removesuffix("/api")
    for path in ("documentation", "openapi", "asyncapi", "health", "status"):
        assert httpx.get(base + index[path]).status_code == 200, path
    assert {"method": "GET", "path": "/api/markets", "summary": "List markets"} in index["calls"]
    assert index["websocket"] == addresses["WebSocket"]


def test_the_database_and_redis_are_opened_without_a_password_to_type(shared: Home) -> None:
    """P18, U16: `zmart psql` and `zmart redis-cli` need no password to be typed."""
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
    """U2, P12: `zmart up` prints a front end's settings; with them a page on another port of this machine works."""
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


REFUSED_START = re.compile("pre-existing shared memory block|lock file .* already exists")
"""What PostgreSQL logs if it begins before the processes of a killed server have ended; it is started again then."""


@pytest.mark.parametrize("name", ["postgres", "valkey", "chain"])
def test_kill_9_of_a_server_is_healed(shared: Home, name: str) -> None:
    before, log = shared.ps()[name], shared.folder / "logs" / f"{name}.log"
    refused_before = len(REFUSED_START.findall(log.read_text(errors="replace")))
    os.kill(before["pid"], signal.SIGKILL)
    wait_for(lambda: shared.processes()[name].pid not in (0, before["pid"]))
    wait_for(shared.all_ready)
    refused = len(REFUSED_START.findall(log.read_text(errors="replace"))) - refused_before
    assert shared.ps()[name]["restarts"] == before["restarts"] + 1 + refused


def test_what_a_ready_service_lacks_is_named_alike_by_every_command(shared: Home) -> None:
    """C9, W15: a gateway that is ready but lacks a writable Redis gives the same reason in every command.

    Redis is made a replica: everything can be read and traded, and nobody can sign in.
    """
    reason = "Nobody can sign in; sessions continue."
    assert shared.zmart("redis-cli", "REPLICAOF", "127.0.0.1", "9").returncode == 0
    try:
        wait_for(lambda: reason in shared.processes()["gateway"].reason)
        assert shared.processes()["gateway"].ready is True
        refused = "Redis accepts no writes (ReadOnlyError: You can't write against a read only replica.)."
        assert shared.ps()["gateway"]["reason"] == f"{refused} {reason}"
        doctor = shared.zmart("doctor")
        assert doctor.returncode == 1
        assert "The gateway is ready, but Redis accepts no writes" in doctor.stdout
    finally:
        assert shared.zmart("redis-cli", "REPLICAOF", "NO", "ONE").returncode == 0
    wait_for(lambda: not shared.processes()["gateway"].reason)
    assert shared.zmart("doctor").returncode == 0


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
