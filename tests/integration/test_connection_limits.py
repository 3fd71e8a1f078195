"""A5, A8, A14, A15: tests of the bounds on what one connection may take of a service, whatever its client does."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
import pytest
import uvloop

from kit.raw_client import RawClient, connected, listening, request
from kit.reference_cycles import reference_cycles
from kit.waiting import until
from zmart.services.client_addresses import ClientAddresses, parse_proxies
from zmart.services.connection_bounds import ConnectionBounds, UnfinishedBody
from zmart.services.connection_counts import ConnectionCounts
from zmart.services.connection_limits import LimitedConnection
from zmart.services.contract import Receive, Scope, Send
from zmart.services.gateway.http.problems import explain
from zmart.services.head_bounds import HeadBounds
from zmart.services.plain_http import read_body

QUICK = ConnectionBounds(head_within_s=0.2, body_within_s=0.2, read_within_s=0.3, check_s=0.05)
LARGE = b"x" * (8 << 20)


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Read the body, except at /unread. Answer 8 MiB at /large, nothing at /slow, else the number of bytes read."""
    body = b""
    if scope["path"] == "/slow":
        while (await receive())["type"] != "http.disconnect":
            pass
        return
    if scope["method"] == "POST" and scope["path"] != "/unread":
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


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"GET / HT",
        request("/"),
        request("/", "Content-Length: 9\r\n", "POST") + b"part",
        b"no HTTP\r\n\r\n",
    ],
    ids=["nothing", "half a head", "a request", "half a body", "no HTTP"],
)
def test_connections_that_have_ended_leave_nothing_in_memory(sent: bytes) -> None:
    """A16: connections that have ended leave no objects in memory, on uvloop, which the services use.

    The timers of that loop hold references to the context in which they were started. A connection outlives the garbage
    collector's young generation, so a reference cycle would remain until a full collection.
    """

    async def client(port: int) -> None:
        async with connected(port) as client:
            client.writer.write(sent)
            await client.writer.drain()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.02):
                    await client.reader.read(65_536)

    async def play() -> None:
        async with listening(app, ConnectionBounds()) as port:
            await client(port)  # creates what exists once in a process
            with reference_cycles() as left:
                for _ in range(10):
                    await asyncio.gather(*(client(port) for _ in range(10)))
                await until(lambda: _connections_in_memory() == 0)
            assert not left

    uvloop.run(play())


def _connections_in_memory() -> int:
    return sum(isinstance(each, LimitedConnection) for each in gc.get_objects())


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
    async with client_of(ConnectionBounds(HeadBounds(head_bytes=4_096))) as client:
        client.writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n" + b"X-Long: y\r\n" * 1_000)
        assert await client.is_closed()


ENDLESS = {
    "a header's value": (b"GET / HTTP/1.1\r\nX-Long: ", b"y" * 8_192),
    "a header's name": (b"GET / HTTP/1.1\r\nHost: x\r\n", b"n" * 8_192),
    "header lines": (b"GET / HTTP/1.1\r\nHost: x\r\n", b"X-Long: y\r\n" * 700),
    "a path": (b"GET /", b"p" * 8_192),
    "a query": (b"GET /?", b"q=1&" * 2_048),
    "a method": (b"", b"G" * 8_192),
    "empty lines": (b"", b"\r\n" * 4_096),
    "trailers": (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", b"X-Long: y\r\n" * 700),
    "a chunk's extension": (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5;", b"e" * 8_192),
    "a head behind a request in progress": (b"GET /slow HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\n", b"X-Long: y\r\n" * 700),
    "trailers of an answered request": (
        b"POST /unread HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", b"X-Long: y\r\n" * 700,
    ),
}  # fmt: skip
"""Heads and framing that a client can send without end: name -> (first bytes, a piece of about 8 KiB to repeat)."""
MOST_PIECES = 2_000
MIB = 1 << 20


@pytest.mark.parametrize("part", ENDLESS)
async def test_nothing_around_a_body_is_endless(part: str) -> None:
    """A5: an endless head or framing of a body ends the connection before its client has sent 16 MiB."""
    begin, piece = ENDLESS[part]
    async with client_of(ConnectionBounds()) as client:
        client.writer.write(begin)
        sent = 0
        with contextlib.suppress(ConnectionError):
            while sent < MOST_PIECES and not client.reader.at_eof():
                client.writer.write(piece)
                await client.writer.drain()
                sent += 1
        assert sent < MOST_PIECES, "16 MiB were taken"


HEADS = {
    "a long header": ("/", "X-Long: " + "y" * 65_536 + "\r\n", 431),
    "a long path": ("/" + "p" * 8_192, "", 414),
    "a long query": ("/?q=" + "q" * 8_192, "", 414),
    "many parameters": ("/?" + "&".join(f"p{number}=1" for number in range(101)), "", 400),
}


@pytest.mark.parametrize("kind", HEADS)
async def test_a_whole_head_above_a_bound_is_refused_before_the_application_sees_it(kind: str) -> None:
    """A8: a head with too long a header, path or query, or too many parameters, never reaches the application."""
    path, headers, status = HEADS[kind]
    async with client_of(ConnectionBounds()) as client:
        answered, sent, body = await client.get(path, headers)
        assert (answered, sent["connection"]) == (status, "close")
        assert msgspec.json.decode(body)["status"] == status


@pytest.mark.parametrize("size", [90_000, 100_000, 900_000])
@pytest.mark.parametrize(
    "begin", [b"GET / HTTP/1.1\r\nHost: x\r\nCookie: ", b"GET /"], ids=["a header", "a path"]
)
async def test_a_head_that_does_not_end_is_answered_before_the_connection_ends(
    begin: bytes, size: int
) -> None:
    """A5, U14: a head without an end is answered with 431 before the connection ends.

    A client loses its answer if the connection is reset while bytes from the client are unread.
    """
    async with client_of(ConnectionBounds()) as client:
        client.writer.write(begin + b"a" * size)
        await client.writer.drain()
        status, headers, body = await client.answer()
        assert (status, headers["connection"]) == (431, "close")
        assert "65536 bytes" in msgspec.json.decode(body)["message"]
        client.writer.write_eof()
        assert await client.is_closed()


async def test_behind_the_answer_to_an_endless_head_little_is_read() -> None:
    async with client_of(ConnectionBounds()) as client:
        client.writer.write(b"GET /" + b"a" * 100_000)
        assert (await client.answer())[0] == 431
        sent = 0
        with contextlib.suppress(ConnectionError):
            while sent < MOST_PIECES:
                client.writer.write(b"a" * 8_192)
                await client.writer.drain()
                sent += 1
        assert sent < MOST_PIECES


async def test_a_head_within_the_bounds_is_taken() -> None:
    async with client_of(ConnectionBounds()) as client:
        query = "&".join(f"p{number}=1" for number in range(100))
        assert (await client.get(f"/?{query}", "X-Long: " + "y" * 50_000 + "\r\n"))[0] == 200


async def test_a_body_in_small_chunks_is_no_attack() -> None:
    async with client_of(ConnectionBounds()) as client:
        client.writer.write(request("/", "Transfer-Encoding: chunked\r\n", "POST"))
        client.writer.write(b"1\r\nx\r\n" * 50_000 + b"0\r\nX-Trailer: y\r\n\r\n")
        assert (await client.answer())[2] == b"50000"
        assert (await client.get("/"))[0] == 200


async def test_a_body_that_nobody_reads_ends_the_connection_after_a_while() -> None:
    """A15: after an answer, the rest of a body that nobody reads must come within `body_within_s`."""
    async with client_of(QUICK) as client:
        client.writer.write(request("/unread", "Content-Length: 1000\r\n", "POST") + b"half")
        assert (await client.answer())[0] == 200
        assert await client.is_closed()


async def test_a_body_that_nobody_reads_is_bounded() -> None:
    """A6: an answer does not wait for an unread body, and more than `unread_bytes` of it end the connection."""
    async with client_of(ConnectionBounds(unread_bytes=100_000)) as client:
        client.writer.write(request("/unread", "Content-Length: 1000000\r\n", "POST"))
        assert (await client.answer())[0] == 200
        client.writer.write(b"x" * 500_000)
        assert await client.is_closed()


@pytest.mark.parametrize("sent", ["the rest of a body", "an endless head"])
async def test_what_nobody_uses_is_read_slowly(sent: str) -> None:
    """A5, A6: what a client sends after its answer is read slowly, so it takes little processor time from others."""
    began_s = time.monotonic()
    async with client_of(ConnectionBounds()) as client:
        if sent == "an endless head":
            client.writer.write(b"GET /" + b"a" * 100_000)
            assert (await client.answer())[0] == 431
            with contextlib.suppress(ConnectionError):
                while True:
                    client.writer.write(b"a" * 65_536)
                    await client.writer.drain()
            assert time.monotonic() - began_s >= 1 / 32
        else:
            client.writer.write(request("/unread", f"Content-Length: {4 * MIB}\r\n", "POST"))
            assert (await client.answer())[0] == 200
            client.writer.write(b"x" * 4 * MIB)
            assert (await client.get("/"))[0] == 200, "all of it was read, and the connection goes on"
            assert time.monotonic() - began_s >= 3 / 16


async def test_a_short_body_that_nobody_reads_leaves_the_connection_open() -> None:
    async with client_of(QUICK) as client:
        client.writer.write(request("/unread", "Content-Length: 100000\r\n", "POST"))
        assert (await client.answer())[0] == 200
        client.writer.write(b"x" * 100_000)
        assert (await client.get("/"))[0] == 200


async def test_a_body_counts_as_no_head() -> None:
    async with client_of(ConnectionBounds(HeadBounds(head_bytes=1_024))) as client:
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
    """A15: a body that does not arrive in time is answered with 408, and its connection ends."""
    async with client_of(QUICK) as client:
        client.writer.write(request("/", "Content-Length: 10\r\n", "POST") + b"half")
        status, headers, _ = await client.answer()
        assert (status, headers["connection"]) == (408, "close")
        assert await client.is_closed()


async def test_a_client_that_never_reads_is_dropped() -> None:
    """A14: a client that does not read its answer in time is disconnected before it has the whole answer."""
    async with listening(app, QUICK) as port:
        loop = asyncio.get_running_loop()
        with socket.socket() as silent:
            silent.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
            silent.setblocking(False)
            await loop.sock_connect(silent, ("127.0.0.1", port))
            await loop.sock_sendall(silent, request("/large"))
            await asyncio.sleep(4 * QUICK.read_within_s)  # the client does not read for so long
            received = 0
            with pytest.raises(ConnectionError):
                while True:
                    piece = await loop.sock_recv(silent, 65_536)
                    received += len(piece)
                    if not piece:
                        raise ConnectionError("ended early")
            assert received < len(LARGE)


@pytest.mark.parametrize(("proxies", "held"), [("", 3), ("127.0.0.0/8", 6), ("::ffff:127.0.0.1", 6)])
async def test_connections_of_one_address_leave_room_for_others(proxies: str, held: int) -> None:
    """A14: one client holds at most half of a process's connections, a trusted proxy all; one that ends makes room."""
    connections = ConnectionCounts(ClientAddresses(parse_proxies(proxies)), 6)
    async with listening(app, connections=connections) as port, contextlib.AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(connected(port)) for _ in range(held)]
        for client in clients:
            assert (await client.get("/"))[0] == 200
        async with connected(port) as refused:
            assert await refused.is_closed()
        clients[0].writer.close()
        await until(lambda: connections._by_client.total() == held - 1)
        async with connected(port) as admitted:
            assert (await admitted.get("/"))[0] == 200


async def test_requests_that_are_sent_together_are_bounded() -> None:
    """A5: 100 pipelined requests are answered, 5,000 end the connection: each takes kilobytes until it is answered."""
    async with client_of(ConnectionBounds()) as client:
        client.writer.write(request("/") * 100)
        assert [(await client.answer())[2] for _ in range(100)] == [b"0"] * 100
        client.writer.write(request("/") * 5_000)
        assert await client.is_closed()


async def test_requests_that_are_sent_together_are_answered_in_order() -> None:
    async with client_of(QUICK) as client:
        bodies = [b"x" * number for number in (3, 0, 7)]
        client.writer.write(
            b"".join(request("/", f"Content-Length: {len(body)}\r\n", "POST") + body for body in bodies)
        )
        assert [(await client.answer())[2] for _ in bodies] == [b"3", b"0", b"7"]


@pytest.mark.parametrize(
    "lines",
    ["Host: 1.2.3.4, ::1", "Host: host:99999", "Host: [::1", "Host:", "Host: one\r\nHost: two", "Host: a b"],
)
async def test_a_head_whose_host_is_none_is_refused_before_anything_reads_it(lines: str) -> None:
    """W8, A5: an invalid, empty or repeated Host header is answered with 400 before the framework fails with a 500."""
    async with client_of(ConnectionBounds()) as client:
        client.writer.write(f"GET / HTTP/1.1\r\n{lines}\r\n\r\n".encode())
        status, _, body = await client.answer()
        assert status == 400
        assert b"Host" in body


@pytest.mark.parametrize("how", ["content-length: 9", "transfer-encoding: chunked"])
async def test_a_body_that_is_cut_is_no_body_and_no_failure_of_ours(how: str) -> None:
    """A5: a body that the client cuts off raises UnfinishedBody, which is a 400 and no error of the server."""
    ended: asyncio.Queue[object] = asyncio.Queue()

    async def reads(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await ended.put(await read_body(receive, 1_000))
        except Exception as problem:
            await ended.put(problem)
            raise

    async with listening(reads, ConnectionBounds()) as port, connected(port) as client:
        part = b"4\r\n[1]\n\r\n" if "chunked" in how else b"[1]\n"
        client.writer.write(f"POST / HTTP/1.1\r\nhost: x\r\n{how}\r\n\r\n".encode() + part)
        await client.writer.drain()
        client.writer.close()
        async with asyncio.timeout(10):
            problem = await ended.get()
        assert isinstance(problem, UnfinishedBody)
        assert explain(problem)[0] == 400
