"""Tests of how a local stack starts, ends and starts again: no process is left behind, and no data is lost."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import asyncpg
import pytest

from kit.machine_time import machine_time, seconds_since
from kit.stack_home import Home, Up
from kit.waiting import wait_for
from zmart.local.postgres import Postgres
from zmart.local.process_group import members
from zmart.local.stack import supervisor_of
from zmart.services.contract import SERVICES


@pytest.fixture
def home(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Home]:
    home = Home(tmp_path / "home", request.config.rootpath / ".zmart" / "node")
    yield home
    home.zmart("stop")
    assert members(home.folder) == []


def supervisord(home: Home) -> int:
    return int((home.folder / "run" / "supervisord.pid").read_text())


def test_kill_9_of_up_or_of_its_supervisor_leaves_nothing(home: Home) -> None:
    up = home.up().ready()
    os.kill(supervisord(home), signal.SIGKILL)
    assert up.process.wait(30) == 1
    assert "zmart up" in up.said
    assert members(home.folder) == []
    up = home.up().ready()
    up.process.kill()
    up.process.wait()
    wait_for(lambda: not members(home.folder))


INTERRUPTIONS: dict[str, tuple[Callable[[Up], object], str]] = {
    "Ctrl-C": (lambda up: up.process.send_signal(signal.SIGINT), "Stopped while starting."),
    "zmart stop": (lambda up: up.home.zmart("stop"), "Stopped while starting."),
    "kill -9": (lambda up: os.kill(supervisord(up.home), signal.SIGKILL), "supervisord was ended by SIGKILL"),
}


@pytest.mark.parametrize("how", INTERRUPTIONS)
def test_an_end_in_the_middle_of_a_start_leaves_nothing_and_is_said(home: Home, how: str) -> None:
    end, said = INTERRUPTIONS[how]
    up = home.up()
    wait_for(lambda: "valkey is ready" in up.said)
    end(up)
    assert up.process.wait(60) == 1
    assert up.said.splitlines()[-1].startswith(said), up.said
    assert members(home.folder) == []


def test_a_start_that_was_killed_and_a_stack_without_its_services_are_continued_by_the_next_up(
    home: Home,
) -> None:
    """Each `zmart up` ends with a whole stack: after the kill of a detached start, and after a restore."""
    killed = home.up("--detach")
    wait_for(supervisor_of(home.folder).answers)
    killed.process.kill()
    killed.process.wait()
    assert members(home.folder), "supervisord runs, and some or none of its programs"
    again = home.zmart("up", "--detach")
    assert again.returncode == 0, again.stderr
    wait_for(home.all_ready)
    supervisor_of(home.folder).stop(*(f"services:{name}" for name in SERVICES))
    again = home.zmart("up", "--detach")
    assert again.returncode == 0, again.stderr
    assert "are stopped" in again.stdout
    assert home.all_ready()


def test_an_end_before_the_supervisor_listens_is_at_once(home: Home) -> None:
    """A SIGTERM that comes before supervisord listens ends the start within 20 seconds."""
    up = home.up()
    wait_for((home.folder / "logs" / "supervisord.out").exists, every_s=0.001)
    began = machine_time()
    up.process.send_signal(signal.SIGTERM)
    assert up.process.wait(60) == 1
    assert seconds_since(began) < 20
    assert up.said.splitlines()[-1] == "Stopped while starting.", up.said
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


def test_a_stack_goes_on_where_it_was_and_no_doubt_about_its_chain_costs_the_database(home: Home) -> None:
    """C14: a stopped stack starts again with its slot, ports and rows, also if the record of its chain is damaged.

    If the chain's journal is not there any more, the start is refused and the database is kept.
    """
    up = home.up().ready()
    slot, ports = home.slot(), home.record()["ports"]
    record = home.folder / "postgres" / "chain"
    whole = record.read_text()
    query(home, "INSERT INTO users (wallet) VALUES ($1)", whole)
    assert home.zmart("stop").stdout == "Stopped.\n"
    assert up.process.wait(20) == 0
    assert members(home.folder) == []
    assert not supervisor_of(home.folder).socket.exists()
    record.write_text(whole[:20])
    up = home.up().ready()
    assert home.record()["ports"] == ports
    assert home.slot() > slot
    assert query(home, "SELECT wallet FROM users WHERE wallet = $1", whole) == [(whole,)]
    assert record.read_text() == whole
    assert up.end(signal.SIGINT) == 0
    assert members(home.folder) == []
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
