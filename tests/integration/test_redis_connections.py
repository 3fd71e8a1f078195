"""Connections to Redis that end at any moment, on the event loop of the services."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest
import uvloop

from kit.tcp_proxy import TcpProxy
from zmart.errors import StoreError, Unavailable
from zmart.feed.redis_client import connect


def test_a_connection_that_ends_between_its_check_and_a_command_is_unavailable(redis_url: str) -> None:
    """C9: uvloop raises RuntimeError for a write to such a connection; a request was answered with 500 for it."""

    async def play() -> None:
        client = connect(redis_url, connections=1)
        pool: Any = client.connection_pool
        check = pool.ensure_connection

        async def check_and_end(connection: Any) -> None:
            await check(connection)
            connection._writer.transport.abort()
            await asyncio.sleep(0)  # its end is told in the next round of the loop
            await asyncio.sleep(0)

        assert await client.set("k", b"1")
        pool.ensure_connection = check_and_end
        with pytest.raises(Unavailable, match="Redis is unavailable"):
            await client.set("k", b"2")
        pool.ensure_connection = check
        assert await client.get("k") == b"1"
        await client.aclose()

    uvloop.run(play())


def test_connections_that_are_reset_again_and_again_raise_nothing_but_the_errors_of_a_store(
    redis_url: str,
) -> None:
    async def play() -> None:
        chance, ends = random.Random(1), asyncio.get_running_loop().time() + 3

        async def call(number: int) -> int:
            done = 0
            while asyncio.get_running_loop().time() < ends:
                try:
                    done += bool(await client.set(f"k{number}", b"1"))
                except StoreError:
                    await asyncio.sleep(0)
            return done

        async with TcpProxy.before(redis_url) as proxy:
            client = connect(proxy.url, connections=4, answer_s=0.2)
            calls = [asyncio.create_task(call(number)) for number in range(16)]
            while asyncio.get_running_loop().time() < ends:
                await asyncio.sleep(chance.random() / 50)
                proxy.cut()
                proxy.cut_after_bytes = chance.randrange(40, 4_000)
            assert sum(await asyncio.gather(*calls)) > 0
            await client.aclose()

    uvloop.run(play())
