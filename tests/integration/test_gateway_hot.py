"""The short way of reads: what was asked before is answered by its bytes alone, and never with what is past."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import uvicorn

from kit.gateway import (
    Site,
    add_market,
    add_trade,
    site,
)
from kit.wallets import address, market_id
from zmart.ops.short_way import protocol
from zmart.services.contract import Line

HOST = "Host: gateway\r\n"


class Connection:
    """A client that sends the very bytes it is told."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self.writer = writer

    async def get(self, path: str, headers: str = "") -> tuple[int, dict[str, str], bytes]:
        self.writer.write(request(path, headers))
        return await self.answer()

    async def answer(self) -> tuple[int, dict[str, str], bytes]:
        async with asyncio.timeout(10):
            head = (await self._reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            headers = dict(line.lower().split(": ", 1) for line in head[1:] if line)
            body = await self._reader.readexactly(int(headers.get("content-length", "0")))
        return int(head[0].split()[1]), headers, body


class Short:
    """The gateway's short way, and how often it took a request."""

    def __init__(self, served: Site) -> None:
        self._served = served
        self.taken = 0

    def __call__(self, wire: bytes, line: Line) -> bool:
        is_taken = self._served.gateway.short_way(wire, line)
        self.taken += is_taken
        return is_taken


def request(path: str, headers: str = "") -> bytes:
    return f"GET {path} HTTP/1.1\r\n{HOST}{headers}\r\n".encode()


@asynccontextmanager
async def served(
    database_url: str, redis_url: str, **settings: object
) -> AsyncIterator[tuple[Site, Short, int]]:
    async with site(database_url, redis_url, **settings) as found:
        short = Short(found)
        config = uvicorn.Config(
            found.gateway.asgi(),
            loop="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            date_header=False,
            http=protocol(short),
        )
        server, listener = uvicorn.Server(config), socket.create_server(("127.0.0.1", 0))
        running = asyncio.create_task(server._serve([listener]))
        async with asyncio.timeout(10):
            while not server.started:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        yield found, short, listener.getsockname()[1]
        server.should_exit = True
        await running


@asynccontextmanager
async def connected(port: int) -> AsyncIterator[Connection]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    yield Connection(reader, writer)
    writer.close()


async def known(client: Connection, short: Short, path: str, headers: str = "") -> bytes:
    """Ask until the short way knows the request; the last answer."""
    for _ in range(10):
        before = short.taken
        status, _, body = await client.get(path, headers)
        assert status == 200, body
        if short.taken > before:
            return body
    raise AssertionError(f"{path} never took the short way")


@pytest.mark.parametrize("answer_cache_bytes", [0, 1 << 20])
async def test_a_commit_shows_in_the_next_answer(
    database_url: str, redis_url: str, answer_cache_bytes: int
) -> None:
    async with served(database_url, redis_url, answer_cache_bytes=answer_cache_bytes) as (found, short, port):
        key = await add_market(found.pool, 1)
        async with connected(port) as client:
            paths = ["/api/markets", f"/api/markets/{key}", f"/api/markets/{key}/trades"]
            for path in paths:
                await known(client, short, path)
            for number in range(1, 31):
                await found.pool.execute(
                    "UPDATE markets SET total_volume = $2 WHERE market_id = $1", key, number
                )
                await add_trade(found.pool, key, address(2), number)
                answers = [json.loads((await client.get(path))[2]) for path in paths]
                assert answers[0]["markets"][0]["total_volume"] == number
                assert answers[1]["total_volume"] == number
                assert answers[2]["count"] == number
        assert short.taken >= 60


async def test_the_count_follows_new_markets_and_states(database_url: str, redis_url: str) -> None:
    async with served(database_url, redis_url) as (found, short, port), connected(port) as client:
        await add_market(found.pool, 1)
        await known(client, short, "/api/markets?state=ACTIVE")
        for number in range(2, 8):
            await add_market(found.pool, number)
            assert json.loads((await client.get("/api/markets?state=ACTIVE"))[2])["count"] == number
        await found.pool.execute("UPDATE markets SET state = 'RESOLVING' WHERE market_id = $1", market_id(3))
        assert json.loads((await client.get("/api/markets?state=ACTIVE"))[2])["count"] == 6
        await found.pool.execute("DELETE FROM markets WHERE market_id = $1", market_id(4))
        assert json.loads((await client.get("/api/markets?state=ACTIVE"))[2])["count"] == 5


async def test_both_ways_say_the_same(database_url: str, redis_url: str) -> None:
    async with served(database_url, redis_url, cors_origin="https://app.example") as (found, short, port):
        key = await add_market(found.pool, 1)
        await add_trade(found.pool, key, address(2), 5)
        async with connected(port) as client:
            for path in (
                "/api/markets",
                f"/api/markets/{key}/trades?numeric=string",
                f"/api/markets/{key}/candles",
            ):
                for headers in (
                    "",
                    "Origin: https://app.example\r\n",
                    "Origin: https://stranger.example\r\n",
                ):
                    _, long, body = await client.get(f"{path}", f"{headers}X-Request-Id: a\r\n")
                    assert await known(client, short, path, headers) == body
                    _, brief, _ = await client.get(path, headers)
                    own = {"x-request-id", "ratelimit"}
                    assert {k: v for k, v in brief.items() if k not in own} == {
                        k: v for k, v in long.items() if k not in own
                    }
                    assert own <= set(brief)


async def test_what_a_client_has_is_not_sent_again_until_it_changes(
    database_url: str, redis_url: str
) -> None:
    async with served(database_url, redis_url) as (found, short, port), connected(port) as client:
        key = await add_market(found.pool, 1)
        path = f"/api/markets/{key}"
        await known(client, short, path)
        tag = (await client.get(path))[1]["etag"]
        for _ in range(3):
            status, headers, body = await client.get(path, f"If-None-Match: {tag}\r\n")
            assert (status, headers["etag"], body) == (304, tag, b"")
        await found.pool.execute("UPDATE markets SET total_volume = 9 WHERE market_id = $1", key)
        status, headers, body = await client.get(path, f"If-None-Match: {tag}\r\n")
        assert status == 200
        assert headers["etag"] != tag
        assert json.loads(body)["total_volume"] == 9


async def test_requests_that_arrive_together_or_in_pieces_are_answered_in_order(
    database_url: str, redis_url: str
) -> None:
    async with served(database_url, redis_url) as (found, short, port), connected(port) as client:
        keys = [await add_market(found.pool, number) for number in (1, 2, 3)]
        for key in keys:
            await known(client, short, f"/api/markets/{key}")
        wanted = [keys[n] for n in (0, 2, 1, 1, 0)]
        client.writer.write(b"".join(request(f"/api/markets/{key}") for key in wanted))
        assert [json.loads((await client.answer())[2])["id"] for _ in wanted] == wanted
        client.writer.write(request(f"/api/markets/{keys[0]}"))
        await asyncio.sleep(0)
        client.writer.write(request(f"/api/markets/{keys[1]}"))  # while the first may still be on its way
        assert [json.loads((await client.answer())[2])["id"] for _ in range(2)] == keys[:2]
        whole = request(f"/api/markets/{keys[2]}")
        client.writer.write(whole[:20])
        await client.writer.drain()
        await asyncio.sleep(0.05)  # long enough to be read as a piece of its own
        client.writer.write(whole[20:])
        assert json.loads((await client.answer())[2])["id"] == keys[2]
        assert (await client.get(f"/api/markets/{keys[0]}"))[0] == 200


async def test_a_market_that_is_gone_is_not_found(database_url: str, redis_url: str) -> None:
    async with served(database_url, redis_url) as (found, short, port), connected(port) as client:
        key = await add_market(found.pool, 1)
        await known(client, short, f"/api/markets/{key}")
        await found.pool.execute("DELETE FROM markets WHERE market_id = $1", key)
        status, _, body = await client.get(f"/api/markets/{key}")
        assert status == 404
        assert "There is no market" in json.loads(body)["message"]


async def test_the_limit_is_kept_to_the_last_request(database_url: str, redis_url: str) -> None:
    async with served(database_url, redis_url, rate_limit_reads=120) as (found, short, port):
        await add_market(found.pool, 1)
        async with connected(port) as client:
            answers = [await client.get("/api/markets") for _ in range(140)]
    statuses = [status for status, _, _ in answers]
    # Some of the last minute may still count when a new one begins during the test: never more than the limit.
    assert statuses[:100] == [200] * 100
    assert 100 <= statuses.count(200) <= 121
    assert 429 in statuses
    assert short.taken > 50


async def test_a_signed_request_never_takes_the_short_way(database_url: str, redis_url: str) -> None:
    async with served(database_url, redis_url) as (found, short, port), connected(port) as client:
        await add_market(found.pool, 1)
        await known(client, short, "/api/markets")
        before = short.taken
        for _ in range(3):
            await client.get("/api/markets", "Authorization: Bearer x\r\n")
        assert short.taken == before
