"""What one connection may take of a service, whatever its client does."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from kit.raw_client import RawClient, connected, listening, request
from zmart.services.connection_limits import ConnectionBounds
from zmart.services.contract import Receive, Scope, Send

QUICK = ConnectionBounds(head_within_s=0.2, body_within_s=0.2, read_within_s=0.3, check_s=0.05)
LARGE = b"x" * (8 << 20)


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Reads the body; answers with many bytes at /large, else with its length."""
    body = b""
    if scope["method"] == "POST":
        while (message := await receive()).get("more_body", False):
            body += message["body"]
        body += message["body"]
    answer = LARGE if scope["path"] == "/large" else b"%d" % len(body)
    headers = [(b"content-length", b"%d" % len(answer))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": answer})


@asynccontextmanager
async def client_of(bounds: ConnectionBounds) -> AsyncIterator[RawClient]:
    async with listening(app, bounds) as port, connected(port) as client:
        yield client


@pytest.mark.parametrize("first", [b"", b"GET / HTTP/1.1\r\nHost: x\r\nX-Slow: ", b"\r\n\r\n"])
async def test_a_head_that_does_not_come_ends_the_connection(first: bytes) -> None:
    async with client_of(QUICK) as client:
        client.writer.write(first)
        assert await client.is_closed()


async def test_a_used_connection_has_the_same_time_for_its_next_head() -> None:
    async with client_of(QUICK) as client:
        for _ in range(2):
            assert (await client.get("/"))[0] == 200
        client.writer.write(b"GET / HT")
        assert await client.is_closed()


async def test_an_idle_connection_outlives_the_time_of_a_head() -> None:
    async with client_of(QUICK) as client:
        assert (await client.get("/"))[0] == 200
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(3 * QUICK.head_within_s):
                await client.reader.read(1)
        assert (await client.get("/"))[0] == 200


async def test_a_head_that_is_too_long_ends_the_connection() -> None:
    async with client_of(ConnectionBounds(head_bytes=4_096)) as client:
        client.writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n" + b"X-Long: y\r\n" * 1_000)
        assert await client.is_closed()


async def test_a_body_counts_as_no_head() -> None:
    async with client_of(ConnectionBounds(head_bytes=1_024)) as client:
        body = b"x" * 100_000
        client.writer.write(request("/", f"Content-Length: {len(body)}\r\n", "POST") + body)
        assert (await client.answer())[2] == b"100000"


async def test_too_many_headers_are_refused() -> None:
    async with client_of(ConnectionBounds()) as client:
        few = "".join(f"X-{number}: y\r\n" for number in range(99))
        assert (await client.get("/", few))[0] == 200
        status, headers, _ = await client.get("/", few + "X-99: y\r\n")
        assert (status, headers["connection"]) == (431, "close")
        assert await client.is_closed()


async def test_a_body_that_does_not_come_is_408() -> None:
    async with client_of(QUICK) as client:
        client.writer.write(request("/", "Content-Length: 10\r\n", "POST") + b"half")
        status, headers, _ = await client.answer()
        assert (status, headers["connection"]) == (408, "close")
        assert await client.is_closed()


async def test_a_client_that_never_reads_is_dropped() -> None:
    async with listening(app, QUICK) as port:
        loop = asyncio.get_running_loop()
        with socket.socket() as silent:
            silent.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
            silent.setblocking(False)
            await loop.sock_connect(silent, ("127.0.0.1", port))
            await loop.sock_sendall(silent, request("/large"))
            await asyncio.sleep(4 * QUICK.read_within_s)  # the client's part: it does not read for so long
            received = 0
            with pytest.raises(ConnectionError):
                while True:
                    piece = await loop.sock_recv(silent, 65_536)
                    received += len(piece)
                    if not piece:
                        raise ConnectionError("ended early")
            assert received < len(LARGE)


async def test_requests_that_are_sent_together_are_answered_in_order() -> None:
    async with client_of(QUICK) as client:
        bodies = [b"x" * number for number in (3, 0, 7)]
        client.writer.write(
            b"".join(request("/", f"Content-Length: {len(body)}\r\n", "POST") + body for body in bodies)
        )
        assert [(await client.answer())[2] for _ in bodies] == [b"3", b"0", b"7"]
