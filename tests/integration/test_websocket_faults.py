"""Tests that a client that resumes at its last offset gets the sequence of one that stayed, whatever is killed."""

import asyncio
import json
import os
import re
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest
import websockets
from websockets.asyncio.client import connect

from kit import commands
from zmart.feed.wire import encode
from zmart.local.processes import free_port
from zmart.local.valkey import Valkey
from zmart.store import change_feed
from zmart.store.pool import Pool

MARKET = "ab" * 32
WALLET = "1" * 32
COMMENT = f"INSERT INTO discussions (market_id, wallet, content) VALUES ('{MARKET}', '{WALLET}', $1)"

Seen = list[tuple[int, bytes]]


@pytest.fixture
def own_valkey(tmp_path):
    server = Valkey(tmp_path / "valkey", free_port())
    server.start()
    yield server
    server.stop()


class Process:
    """A process of `zmart run websocket`, as its user starts it."""

    def __init__(self, database_url: str, redis_url: str) -> None:
        self.port = free_port()
        self._environment = commands.environment(
            database_url=database_url, redis_url=redis_url, ws_port=self.port
        )
        self._process: asyncio.subprocess.Process | None = None

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}"

    async def start(self) -> None:
        self._process = await commands.start("run", "websocket", env=self._environment)
        async with asyncio.timeout(30):
            while True:
                with suppress(OSError):
                    _, writer = await asyncio.open_connection("127.0.0.1", self.port)
                    writer.close()
                    await writer.wait_closed()
                    return
                await asyncio.sleep(0.05)

    async def end(self, how: signal.Signals) -> int:
        assert self._process is not None
        with suppress(ProcessLookupError):
            self._process.send_signal(how)
        return await self._process.wait()


@asynccontextmanager
async def servers(database_url: str, redis_url: str, count: int) -> AsyncIterator[list[Process]]:
    started = [Process(database_url, redis_url) for _ in range(count)]
    try:
        for each in started:
            await each.start()
        yield started
    finally:
        for each in started:
            await each.end(signal.SIGKILL)


async def follow(server: Process, epoch: str, seen: Seen, upto: int) -> None:
    """Follow the feed until offset `upto`, with as many connections as it takes, and append each message to `seen`."""
    while not seen or seen[-1][0] < upto:
        with suppress(OSError, websockets.WebSocketException):
            async with connect(server.url) as socket:
                await socket.recv()
                last = seen[-1][0] if seen else 0
                order = {"action": "subscribe", "channel": "activity", "epoch": epoch, "offset": last}
                await socket.send(json.dumps(order))
                async for text in socket:
                    reported = json.loads(text)
                    assert reported["type"] != "gap"
                    if reported["type"] == "discussion":
                        seen.append((reported["offset"], text.encode()))
                    elif reported["type"] == "error":  # PostgreSQL was unavailable at the moment
                        break
                    if seen and seen[-1][0] >= upto:
                        return
        await asyncio.sleep(0.05)


async def write(pool: Pool, count: int, after_each) -> None:
    for number in range(count):
        await pool.execute(COMMENT, f"comment {number}")
        await after_each(number)
        await asyncio.sleep(0.005)


async def truth(pool: Pool) -> Seen:
    """Return every message as the database holds it: (offset, payload)."""
    epoch = (await change_feed.head(pool)).epoch
    changes = await change_feed.read_after(pool, 0, 10_000)
    return [(change.offset, encode(change, epoch).payload("activity")) for change in changes]


async def test_kill_9_of_the_socket_server_loses_and_repeats_nothing(database_url, own_valkey, pool):
    epoch = (await change_feed.head(pool)).epoch
    steady: Seen = []
    shaken: Seen = []
    async with servers(database_url, own_valkey.url(), 2) as (stays, dies):

        async def kill(number: int) -> None:
            if number in (40, 120):
                await dies.end(signal.SIGKILL)
                await dies.start()

        async with asyncio.timeout(60), asyncio.TaskGroup() as group:
            group.create_task(follow(stays, epoch, steady, 200))
            group.create_task(follow(dies, epoch, shaken, 200))
            group.create_task(write(pool, 200, kill))
        assert shaken == steady == await truth(pool)


async def test_kill_9_of_the_relays_process_moves_the_relay_and_loses_nothing(database_url, own_valkey, pool):
    epoch = (await change_feed.head(pool)).epoch
    seen: Seen = []
    async with servers(database_url, own_valkey.url(), 2) as (leads, follows):

        async def kill(number: int) -> None:
            if number == 50:
                await leads.end(signal.SIGKILL)

        async with asyncio.timeout(60), asyncio.TaskGroup() as group:
            group.create_task(follow(follows, epoch, seen, 150))
            group.create_task(write(pool, 150, kill))
        assert seen == await truth(pool)


async def test_kill_9_of_redis_loses_and_repeats_nothing(database_url, own_valkey, pool):
    epoch = (await change_feed.head(pool)).epoch
    stayed: Seen = []
    came_back: Seen = []
    async with servers(database_url, own_valkey.url(), 2) as (one, two):

        async def kill(number: int) -> None:
            if number == 60:
                log = own_valkey.log.read_text("utf-8", "replace")
                pid = int(re.findall(r"^(\d+):M ", log, re.MULTILINE)[-1])
                os.kill(pid, signal.SIGKILL)
            elif number == 110:
                own_valkey.stop()
                await asyncio.to_thread(own_valkey.start)
            elif number == 150:
                await two.end(signal.SIGKILL)
                await two.start()

        async with asyncio.timeout(60), asyncio.TaskGroup() as group:
            group.create_task(follow(one, epoch, stayed, 200))
            group.create_task(follow(two, epoch, came_back, 200))
            group.create_task(write(pool, 200, kill))
        assert came_back == stayed == await truth(pool)


async def test_lost_postgresql_connections_lose_and_repeat_nothing(database_url, own_valkey, pool):
    epoch = (await change_feed.head(pool)).epoch
    seen: Seen = []
    async with servers(database_url, own_valkey.url(), 1) as (server,):

        async def cut(number: int) -> None:
            if number in (30, 90):
                async with pool.acquire() as connection:
                    await connection.execute(
                        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = "
                        "current_database() AND pid <> pg_backend_pid()"
                    )

        async with asyncio.timeout(60), asyncio.TaskGroup() as group:
            group.create_task(follow(server, epoch, seen, 150))
            group.create_task(write(pool, 150, cut))
        assert seen == await truth(pool)


async def test_sigterm_sends_clients_away_with_1012_and_exits_cleanly(database_url, own_valkey):
    async with servers(database_url, own_valkey.url(), 1) as (server,), connect(server.url) as socket:
        await socket.recv()
        ending = asyncio.create_task(server.end(signal.SIGTERM))
        with pytest.raises(websockets.ConnectionClosed):
            await socket.recv()
        assert socket.close_code == 1012
        assert await ending == 0
