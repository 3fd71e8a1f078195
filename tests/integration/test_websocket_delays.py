"""Tests of how late a live message may be while Redis or the database is slow, hangs or comes back."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from websockets.asyncio.client import ClientConnection, connect

from kit.services import running_service
from kit.tcp_proxy import TcpProxy
from kit.waiting import until
from zmart.services.websocket.service import WebSocketService
from zmart.settings import Settings
from zmart.store.pool import Pool

COMMENT = f"INSERT INTO discussions (market_id, wallet, content) VALUES ('{'ab' * 32}', '{'1' * 32}', $1)"


class Follower:
    """A client of the socket server that also writes comments."""

    def __init__(self, service: WebSocketService, socket: ClientConnection, pool: Pool) -> None:
        self.service, self.socket, self._pool = service, socket, pool
        self._number = 0

    async def write(self) -> str:
        self._number += 1
        await self._pool.execute(COMMENT, f"comment {self._number}")
        return f"comment {self._number}"

    async def delay_s(self) -> float:
        """Write a comment, and return how many seconds later its message comes."""
        began, content = time.monotonic(), await self.write()
        async with asyncio.timeout(20):
            while content not in str(await self.socket.recv()):
                pass
        return time.monotonic() - began

    async def ready(self) -> tuple[bool, str]:
        answer = await self.service.readiness()
        return answer.ready, answer.reason


@asynccontextmanager
async def following(database: TcpProxy, redis: TcpProxy, pool: Pool) -> AsyncIterator[Follower]:
    """Yield a client of a socket server behind the two proxies; it has received a message by way of Redis."""
    settings = Settings(
        _env_file=None, zmart_env="local", database_url=database.url, redis_url=redis.url, ws_port=0
    )
    async with running_service(await WebSocketService.open(settings)) as service:
        await until(lambda: service.port)
        async with connect(f"ws://127.0.0.1:{service.port}") as socket:
            await socket.recv()
            await socket.send(json.dumps({"action": "subscribe", "channel": "activity"}))
            assert json.loads(await socket.recv())["type"] == "subscribed"
            follower = Follower(service, socket, pool)
            await until(follower.delay_s, lambda _: service._reader.source == "redis")
            yield follower


@pytest.fixture
async def proxies(database_url: str, redis_url: str) -> AsyncIterator[tuple[TcpProxy, TcpProxy]]:
    async with TcpProxy.before(database_url) as database, TcpProxy.before(redis_url) as redis:
        yield database, redis


async def test_a_slow_redis_delays_no_message_by_more_than_a_second(
    proxies: tuple[TcpProxy, TcpProxy], pool: Pool
) -> None:
    """C10: a Redis that passes every byte 500 ms late, in both directions, delays no message by more than a second."""
    database, redis = proxies
    async with following(database, redis, pool) as follower:
        redis.delay_s = 0.5
        assert max([await follower.delay_s() for _ in range(12)]) < 1
        assert (await follower.ready())[0]
        await redis.restore()
        await until(follower.delay_s, lambda _: follower.service._reader.source == "redis")
        assert await follower.delay_s() < 0.2


@pytest.mark.parametrize("how", ["hang", "hang_old", "refuse", "cut"])
async def test_postgresql_takes_over_from_redis_within_two_seconds(
    proxies: tuple[TcpProxy, TcpProxy], pool: Pool, how: str
) -> None:
    """C10: a Redis that hangs, refuses or cuts connections all of a sudden delays no message by two seconds."""
    database, redis = proxies
    async with following(database, redis, pool) as follower:
        getattr(redis, how)()
        assert max([await follower.delay_s() for _ in range(12)]) < 2
        await redis.restore()
        await until(follower.delay_s, lambda _: follower.service._reader.source == "redis", within_s=10)


async def test_messages_go_on_in_seconds_while_old_database_connections_hang(
    proxies: tuple[TcpProxy, TcpProxy], pool: Pool
) -> None:
    """C20: while the database connections of relay, listener and pool hang, a message comes within six seconds."""
    database, redis = proxies
    async with following(database, redis, pool) as follower:
        database.hang_old()
        assert max([await follower.delay_s() for _ in range(5)]) < 6
        await until(lambda: follower.service._relay.leading, within_s=10)
        await until(follower.ready, lambda said: said == (True, ""), within_s=5)
        assert await follower.delay_s() < 1


@pytest.mark.parametrize("how", ["hang", "refuse"])
async def test_readiness_follows_the_database_in_seconds_under_steady_traffic(
    proxies: tuple[TcpProxy, TcpProxy], pool: Pool, how: str
) -> None:
    """C19: under steady traffic, an outage of the database makes the server not ready, and its end makes it ready.

    Both take a few seconds. A past outage is not reported once messages come.
    """
    database, redis = proxies
    async with following(database, redis, pool) as follower, steady(follower):
        getattr(database, how)()
        _, reason = await until(follower.ready, lambda said: not said[0], within_s=6)
        assert "PostgreSQL" in reason
        await database.restore()
        await until(follower.ready, lambda said: said == (True, ""), within_s=5)


@asynccontextmanager
async def steady(follower: Follower) -> AsyncIterator[None]:
    """Write a comment every 20 ms while the block runs, so that Redis always has a message."""

    async def write_on() -> None:
        while True:
            await follower.write()
            await asyncio.sleep(0.02)

    async def read_on() -> None:
        async for _ in follower.socket:
            pass

    tasks = [asyncio.create_task(write_on()), asyncio.create_task(read_on())]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
