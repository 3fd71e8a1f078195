"""W2, W2c, A14, A16, W11, W12: tests of what the WebSocket's port takes of a client, byte by byte (RFC 6455)."""

from __future__ import annotations

import asyncio
import json
import socket as sockets
import tracemalloc
from collections.abc import Callable
from contextlib import AsyncExitStack

import pytest
import uvloop
from websockets.asyncio.client import connect

from kit.reference_cycles import reference_cycles
from kit.sockets import HANDSHAKE, RawSocket, frame, handshake, head, opened, raw, serving, text
from kit.waiting import until
from zmart.services.client_addresses import ClientAddresses
from zmart.services.connection_counts import ConnectionCounts
from zmart.services.websocket.handshake import HandshakeProtocol, SocketHandshake
from zmart.services.websocket.limits import HandshakeLimits, SocketLimits
from zmart.services.websocket.metrics import closed
from zmart.services.websocket.service import WebSocketService
from zmart.settings import Settings, load_settings
from zmart.store import live_state
from zmart.store.pool import Pool

MARKET = "ab" * 32


@pytest.fixture
def settings(database_url: str, redis_url: str) -> Settings:
    return load_settings(zmart_env="local", database_url=database_url, redis_url=redis_url, ws_port=0)


@pytest.fixture
async def port(settings):
    async with serving(settings) as service:
        yield service.port


async def test_a_header_that_is_a_list_is_read_as_one(port):
    """W2: Connection and Upgrade are lists of tokens in any case: Firefox sends `keep-alive, Upgrade`."""
    for changed in (
        {"Connection": "keep-alive, Upgrade"}, {"Connection": "upgrade,keep-alive"}, {"Connection": "UPGRADE"},
        {"Connection": "keep-alive ,  Upgrade"}, {"Upgrade": "WebSocket"}, {"Upgrade": "foo, websocket"},
    ):  # fmt: skip
        async with raw(port) as client:
            client.writer.write(handshake(**changed))
            assert await client.status() == 101, changed
    async with raw(port) as client:
        lines = handshake().replace(b"Connection: Upgrade", b"Connection: keep-alive\r\nConnection: Upgrade")
        client.writer.write(lines)
        assert await client.status() == 101


async def half_a_handshake(client: RawSocket) -> None:
    client.writer.write(handshake()[:40])


async def a_plain_request(client: RawSocket) -> None:
    client.writer.write(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
    await client.reader.read()


async def no_http(client: RawSocket) -> None:
    client.writer.write(b"no HTTP\r\n\r\n")
    await client.reader.read()


async def a_lost_connection(client: RawSocket) -> None:
    await subscribed(client)
    client.writer.transport.abort()


async def a_close_frame(client: RawSocket) -> None:
    await subscribed(client)
    client.writer.write(frame(0x88, b""))
    await client.reader.read()


async def no_frame(client: RawSocket) -> None:
    await subscribed(client)
    client.writer.write(b"\xff\xff")
    await client.reader.read()


async def half_a_message(client: RawSocket) -> None:
    await subscribed(client)
    client.writer.write(frame(0x01, b"x" * 1_000)[:500])
    client.writer.write_eof()
    await client.reader.read()


async def subscribed(client: RawSocket) -> None:
    client.writer.write(handshake("GET /?channels=trades HTTP/1.1"))
    assert await client.status() == 101
    client.writer.write(text({"action": "subscribe", "channel": "market:" + MARKET}))


ENDS = (
    half_a_handshake,
    a_plain_request,
    no_http,
    a_lost_connection,
    a_close_frame,
    no_frame,
    half_a_message,
)


@pytest.mark.parametrize("end", ENDS, ids=[end.__name__ for end in ENDS])
def test_a_connection_that_has_ended_needs_no_garbage_collector(settings, end):
    """A16: connections that have ended need no garbage collector to be freed.

    Connections outlive the collector's young generation: with 50 new ones each second, the server grew by 60 MB in an
    hour before the first full collection.
    """

    async def play() -> None:
        async with serving(settings) as service:
            await once(service)  # creates what exists once in a process
            with reference_cycles() as left:
                await asyncio.gather(*(once(service) for _ in range(50)))
                await until(lambda: not service._hub.connections)
            # The service's other work leaves a few objects, and one of its exceptions a long traceback.
            del left["builtins.traceback"]
            assert not {kind: number for kind, number in left.items() if number >= 50}

    async def once(service: WebSocketService) -> None:
        async with raw(service.port) as client:
            await end(client)

    uvloop.run(play())


HANDSHAKES = {
    "another version": (handshake(Sec_WebSocket_Version="8"), 426),
    "no version": (head(**{name: value for name, value in HANDSHAKE.items() if "Version" not in name}), 426),
    "a short key": (handshake(Sec_WebSocket_Key="AAAA"), 400),
    "no base64": (handshake(Sec_WebSocket_Key="#" * 24), 400),
    "POST": (handshake("POST / HTTP/1.1"), 400),
    "two hosts": (handshake("GET / HTTP/1.1\r\nHost: another.example"), 400),
    "two hosts of a probe": (head("GET /health HTTP/1.1\r\nHost: a.example\r\nHost: b.example"), 400),
    "no host": (head(**{name: value for name, value in HANDSHAKE.items() if name != "Host"}), 400),
    "an empty host": (handshake(Host=""), 400),
    "a body": (handshake(Content_Length="5") + b"12345", 400),
    "a body in chunks": (handshake(Transfer_Encoding="chunked") + b"0\r\n\r\n", 400),
    "HTTP/1.0": (handshake("GET / HTTP/1.0"), 400),
    "no HTTP": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
    "17 KiB of headers": (handshake(X_Long="y" * 17_000), 431),
    "an endless header": (b"GET / HTTP/1.1\r\nX-Long: " + b"y" * 20_000, 431),
    "an endless path": (b"GET /" + b"p" * 20_000, 431),
}


@pytest.mark.parametrize("kind", HANDSHAKES)
async def test_a_handshake_that_cannot_be_is_told_so(port, kind):
    request, status = HANDSHAKES[kind]
    async with raw(port) as client:
        client.writer.write(request)
        assert await client.status() == status


PLAIN = {
    "HEAD": ("HEAD /health HTTP/1.1", {}, 200),
    "HEAD of metrics": ("HEAD /metrics HTTP/1.1", {}, 200),
    "HEAD of /ready": ("HEAD /ready HTTP/1.1", {}, 200),
    "HTTP/1.0": ("GET /health HTTP/1.0", {}, 200),
    "with a query": ("GET /health?probe=1 HTTP/1.1", {}, 200),
    "HTTP/2 is offered": ("GET /health HTTP/1.1", {"Connection": "Upgrade", "Upgrade": "h2c"}, 200),
    "POST": ("POST /health HTTP/1.1", {"Content-Length": "0"}, 405),
    "another path": ("GET /other HTTP/1.1", {}, 426),
    "a slash at the end": ("GET /health/ HTTP/1.1", {}, 200),
    "a whole address": ("GET http://x.example/health HTTP/1.1", {}, 200),
    "a whole address without a path": ("GET http://x.example HTTP/1.1", {}, 426),
}


@pytest.mark.parametrize("kind", PLAIN)
async def test_plain_requests_are_answered_as_on_the_other_ports(port, kind):
    """W2c, U14: plain requests to the WebSocket's port have the same answers and errors as those to the other ports."""
    first, headers, status = PLAIN[kind]
    async with raw(port) as client:
        client.writer.write(head(first, Host="x", **headers))
        async with asyncio.timeout(10):
            answer = await client.reader.read()
        top, _, body = answer.partition(b"\r\n\r\n")
        assert int(top.split()[1]) == status
        assert (body == b"") == first.startswith("HEAD")
        if status >= 400:
            problem = json.loads(body)
            assert problem["status"] == status
            assert problem.keys() == {"error", "message", "status", "timestamp", "path", "request_id"}
            assert f"X-Request-Id: {problem['request_id']}".encode() in top


async def test_a_handshake_in_single_bytes_is_one(port):
    async with raw(port) as client:
        for number in handshake():
            client.writer.write(bytes([number]))
            await client.writer.drain()
        assert await client.status() == 101


async def test_what_follows_a_handshake_at_once_is_read(port):
    async with opened(port, text({"action": "nothing"})) as client:
        assert await client.error_code() == "unknown_action"


def counts(most: int) -> ConnectionCounts:
    return ConnectionCounts(ClientAddresses(()), most)


@pytest.mark.parametrize("first", [0, 3_000])
async def test_of_a_head_nothing_behind_its_bound_is_read(first: int) -> None:
    """A8: a head is read up to its bound and no further.

    Repeated headers are joined, which takes quadratic time, and one read of a socket may bring 256 KiB.
    """
    protocol = HandshakeProtocol(pytest.fail, {}, HandshakeLimits(), counts(100))
    loop, received = asyncio.get_running_loop(), asyncio.Event()

    class Client(asyncio.Protocol):
        def data_received(self, data: bytes) -> None:
            assert b" 431 " in data
            received.set()

    server = await loop.create_server(lambda: protocol, "127.0.0.1", 0)
    async with server:
        transport, _ = await loop.create_connection(Client, *server.sockets[0].getsockname())
        await until(lambda: protocol._client)
        attack = b"GET / HTTP/1.1\r\n" + b"a:\r\n" * 65_536
        for piece in filter(None, (attack[:first], attack[first:])):
            protocol.data_received(piece)
        await asyncio.wait_for(received.wait(), 10)
        assert len(protocol._headers[b"a"]) < HandshakeLimits().head_bytes
        transport.close()


async def test_connections_of_one_address_leave_room_for_others_before_any_handshake() -> None:
    """A14: one address holds at most half of a process's connections, with or without a handshake.

    A connection that ends makes room for another.
    """
    connections, ends = counts(6), []

    def upgrade(transport: asyncio.Transport, _: SocketHandshake, ended: Callable[[], None]) -> None:
        ends.append(ended)
        transport.write(b"HTTP/1.1 101 x\r\n\r\n")

    server = await asyncio.get_running_loop().create_server(
        lambda: HandshakeProtocol(upgrade, {}, HandshakeLimits(), connections), "127.0.0.1", 0
    )
    async with server, AsyncExitStack() as stack:
        port = server.sockets[0].getsockname()[1]
        first, *_ = [await stack.enter_async_context(raw(port)) for _ in range(3)]
        first.writer.write(handshake())
        assert await first.status() == 101
        async with raw(port) as refused:
            assert await refused.reader.read() == b""
        ends[0]()
        async with raw(port) as admitted:
            admitted.writer.write(handshake())
            assert await admitted.status() == 101


async def test_a_head_that_does_not_come_and_a_response_that_nobody_reads_end_the_connection():
    """A14: a head that does not arrive in time and a response that nobody reads end the connection."""
    limits = HandshakeLimits(head_within_s=0.2, read_within_s=0.4)
    page = b"x" * (8 << 20)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: HandshakeProtocol(
            pytest.fail, {"/large": lambda: (200, "text/plain", page)}, limits, counts(100)
        ),
        "127.0.0.1", 0,
    )  # fmt: skip
    async with server:
        port = server.sockets[0].getsockname()[1]
        for first in (b"", b"GET / HTTP/1.1\r\nX-Slow: "):
            async with raw(port) as client:
                client.writer.write(first)
                async with asyncio.timeout(10):
                    assert await client.reader.read() == b""
        with sockets.socket() as silent:
            silent.setsockopt(sockets.SOL_SOCKET, sockets.SO_RCVBUF, 4_096)
            silent.setblocking(False)
            await loop.sock_connect(silent, ("127.0.0.1", port))
            await loop.sock_sendall(silent, head("GET /large HTTP/1.1", Host="x"))
            await asyncio.sleep(4 * limits.read_within_s)  # the client does not read for so long
            received = 0
            with pytest.raises(ConnectionError):
                while piece := await loop.sock_recv(silent, 65_536):
                    received += len(piece)
                raise ConnectionError("ended early")
            assert received < len(page)


DEEP = b"[" * 10_000 + b"]" * 10_000
MESSAGES = {
    "deep nesting": (b'{"action":"ping","z":' + DEEP + b"}", "invalid_message"),
    "2,000 deep": (b'{"action":"ping","z":' + b"[" * 2_000 + b"]" * 2_000 + b"}", "invalid_message"),
    "deep objects": (b'{"z":' * 5_000 + b"1" + b"}" * 5_000, "invalid_message"),
    "NUL in a market": ({"action": "subscribe", "market_id": "\0" * 32}, "unknown_market"),
    "NUL in a market's end": ({"action": "unsubscribe", "market_id": "ab" * 31 + "\0\0"}, "unknown_market"),
    "NUL in a channel": ({"action": "subscribe", "channel": "trades:" + "\0" * 32}, "unknown_market"),
    "NUL in a channel's kind": ({"action": "subscribe", "channel": "\0"}, "unknown_channel"),
    "a long market": ({"action": "subscribe", "market_id": "A" * 60_000}, "unknown_market"),
    "a surrogate": (b'{"action":"subscribe","market_id":"\\ud800"}', "invalid_message"),
    "a large offset": ({"action": "subscribe", "channel": "markets", "offset": 2**64 - 1}, "invalid_message"),
    "a huge offset": (b'{"action":"subscribe","channel":"markets","offset":' + b"9" * 6_000 + b"}", "invalid_message"),
    "a negative offset": ({"action": "subscribe", "channel": "markets", "offset": -1}, "invalid_message"),
    "a number as action": ({"action": 1}, "invalid_message"),
}  # fmt: skip


async def test_whatever_a_message_holds_the_answer_is_a_message(port):
    """A16, W11, W12: whatever a text message holds, its answer is a message; none ends the connection with 1011."""
    async with opened(port) as client:
        for number, (kind, (message, code)) in enumerate(MESSAGES.items()):
            if number % 15 == 14:
                await asyncio.sleep(1)  # a client may send 20 messages a second
            client.writer.write(text(message))
            assert await client.error_code() == code, kind


VIOLATIONS = {
    "the first reserved bit": (frame(0xC1, b"{}"), 1002),
    "the second reserved bit": (frame(0xA1, b"{}"), 1002),
    "the third reserved bit": (frame(0x91, b"{}"), 1002),
    "a reserved bit of a ping": (frame(0xC9, b""), 1002),
    "an opcode that is none": (frame(0x83, b""), 1002),
    "a continuation of nothing": (frame(0x80, b"{}"), 1002),
    "a message within a message": (frame(0x01, b"{") + frame(0x81, b"}"), 1002),
    "no mask": (b"\x81\x02{}", 1002),
    "a ping in fragments": (frame(0x09, b""), 1002),
    "invalid UTF-8": (frame(0x81, b'{"action":"\xff"}'), 1007),
    "UTF-8 that ends early": (frame(0x01, b"\xe2\x82") + frame(0x80, b""), 1007),
    "close code 0": (frame(0x88, b"\x00\x00"), 1002),
    "close code 999": (frame(0x88, (999).to_bytes(2, "big")), 1002),
    "close code 1005": (frame(0x88, (1005).to_bytes(2, "big")), 1002),
    "close code 1006": (frame(0x88, (1006).to_bytes(2, "big")), 1002),
    "close code 5000": (frame(0x88, (5000).to_bytes(2, "big")), 1002),
    "close code 65535": (frame(0x88, b"\xff\xff"), 1002),
    "half a close code": (frame(0x88, b"\x03"), 1002),
    "close code 1000": (frame(0x88, (1000).to_bytes(2, "big")), 1000),
    "close code 3000": (frame(0x88, (3000).to_bytes(2, "big") + b"bye"), 3000),
    "close code 4999": (frame(0x88, (4999).to_bytes(2, "big")), 4999),
    "no close code": (frame(0x88, b""), None),
    "a frame of 100 KiB": (frame(0x81, b"x" * 102_400)[:1_000], 1009),
}


@pytest.mark.parametrize("kind", VIOLATIONS)
async def test_a_client_that_breaks_the_protocol_is_closed_with_its_code(port, kind):
    sent, code = VIOLATIONS[kind]
    is_error = kind not in ("close code 1000", "close code 3000", "close code 4999", "no close code")
    counted = closed.labels(str(code))
    before = counted._value.get()
    async with opened(port, sent) as client:
        assert await client.close_code() == code
    assert counted._value.get() - before == is_error


async def test_a_character_may_be_split_by_fragments(port):
    async with opened(port, frame(0x01, b'{"action":"\xe2\x82') + frame(0x80, b'\xac"}')) as client:
        assert await client.error_code() == "unknown_action"


async def test_requests_that_wait_for_the_database_are_bounded(settings, pool):
    limits = SocketLimits(messages_per_s=1_000, requests=5)
    async with (
        serving(settings, limits) as service,
        opened(service.port) as client,
        pool.transaction() as other,
    ):
        await other.execute("LOCK TABLE markets")
        for number in range(7):
            client.writer.write(text({"action": "subscribe", "market_id": f"{number:064x}"}))
        assert await client.error_code() == "rate_limited"
        assert await client.close_code() == 1008


async def test_states_for_one_address_leave_room_for_those_of_others(settings, pool, monkeypatch):
    """A13: many connections of one address that ask for states do not keep another address from getting one.

    Each state is read in 0.4 s here, as from a database that is busy or far away.
    """
    read = live_state.discussions

    async def slowly(pool: Pool, market_id: str) -> live_state.LiveState:
        await pool.fetchval("SELECT 1 FROM pg_sleep(0.4)")
        return await read(pool, market_id)

    monkeypatch.setattr(live_state, "discussions", slowly)
    trusting = settings.model_copy(update={"trusted_proxies": "127.0.0.0/8"})
    async with serving(trusting) as service, AsyncExitStack() as stack:
        port = service.port

        async def ask(address: str, number: int) -> RawSocket:
            socket = await stack.enter_async_context(raw(port))
            asked = {"action": "subscribe", "channel": f"discussions:{number:064x}"}
            socket.writer.write(handshake(X_Forwarded_For=address) + text(asked))
            return socket

        for number in range(64):
            await ask("203.0.113.1", number)
        await until(lambda: len(service._hub.connections) == 64)
        honest = await ask("203.0.113.2", 64)
        received = b""
        async with asyncio.timeout(10):
            while b'"subscribed"' not in received:
                received += await honest.reader.read(65_536)
        assert b'"snapshot":[]' in received


async def test_replays_that_nobody_reads_hold_little_memory(settings, pool):
    """A client that asks for replays of several channels and reads none takes little more memory than a slow reader."""
    await pool.execute(
        "INSERT INTO discussions (market_id, wallet, content) "
        f"SELECT '{MARKET}', '{'1' * 32}', repeat(chr(128512), 1000) FROM generate_series(1, 4000)"
    )
    channels = ("activity", f"market:{MARKET}", f"discussions:{MARKET}")
    async with serving(settings) as service, AsyncExitStack() as stack:
        await until(lambda: service._hub.position == 4_000)
        await until(lambda: service._relay.leading)
        await asyncio.sleep(2)  # until the relay has brought them to Redis
        service._hub._recent.clear()  # as if they were older than what is in memory
        epoch, connections = service._hub.epoch, service._hub.connections
        asked = b"".join(
            text({"action": "subscribe", "channel": name, "epoch": epoch, "offset": 0}) for name in channels
        )
        tracemalloc.start()
        try:
            before, _ = tracemalloc.get_traced_memory()
            for _ in range(4):
                client = sockets.socket()
                stack.callback(client.close)
                client.setsockopt(sockets.SOL_SOCKET, sockets.SO_RCVBUF, 4_096)
                client.connect(("127.0.0.1", service.port))
                client.sendall(handshake() + asked)
            await until(lambda: len(connections) == 4)
            await until(lambda: not any(each._writable.is_set() for each in connections), within_s=30)
            await asyncio.sleep(3)  # until the replays that wait for their turn have had it
            after, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert all(len(each.subscriptions) == len(channels) for each in connections)
        assert (after - before) / 4 < 4 * 1024 * 1024


async def test_replays_of_one_address_leave_room_for_those_of_others(settings, pool):
    """A13: replays of one address leave room for those of others: each waits for its turn among the clients.

    The answer that a replay begins does not wait.
    """
    await pool.execute(
        "INSERT INTO discussions (market_id, wallet, content) "
        f"SELECT '{MARKET}', '{'1' * 32}', 'x' FROM generate_series(1, 3000)"
    )
    trusting = settings.model_copy(update={"trusted_proxies": "127.0.0.0/8"})
    async with serving(trusting) as service:
        service._hub._recent.clear()  # as if they were older than what is in memory
        answered: list[str] = []

        async def resume(address: str) -> None:
            url, forwarded = f"ws://127.0.0.1:{service.port}", {"X-Forwarded-For": address}
            async with connect(url, additional_headers=forwarded, compression=None) as socket:
                welcome = json.loads(await socket.recv())
                asked = {"channel": "activity", "epoch": welcome["epoch"], "offset": 0}
                await socket.send(json.dumps({"action": "subscribe", **asked}))
                assert json.loads(await socket.recv())["type"] == "subscribed"
                answered.append(address)
                for _ in range(3_000):
                    await socket.recv()

        replays, busy = service._server._subscriptions._replays, "203.0.113.1"
        async with asyncio.timeout(60):
            async with replays.permit(busy), replays.permit(busy):  # as much as one address may have at once
                others = [asyncio.create_task(resume(busy)) for _ in range(8)]
                await until(lambda: len(replays._waiting.get(busy, ())) == len(others))
                await until(lambda: answered == [busy] * len(others))
                await resume("203.0.113.2")
                assert not any(other.done() for other in others)
            await asyncio.gather(*others)
