"""An outage of the RPC or of Redis is two lines in the log: its beginning with the reason, and its end."""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections.abc import AsyncIterator

import pytest
from solders.keypair import Keypair
from structlog.testing import capture_logs

from kit.http_servers import serving
from kit.tcp_proxy import TcpProxy
from kit.waiting import until
from zmart.chain import rpc_endpoint
from zmart.chain.judge import PendingTransaction
from zmart.chain.program import Program
from zmart.chain.rpc import Rpc
from zmart.errors import ChainError
from zmart.feed import redis_client
from zmart.feed.redis_client import RedisClient
from zmart.market.types import Signature, Wallet
from zmart.outage_lines import OutageLines
from zmart.services.gateway.api.relay import Relay
from zmart.services.gateway.http.auth.session_tokens import SessionTokens
from zmart.services.gateway.http.rate_limiter import RateLimiter
from zmart.services.gateway.http.rate_limits import RateLimitPolicy
from zmart.settings import load_settings

Lines = list[tuple[str, str]]


def _lines(logged: object) -> Lines:
    assert isinstance(logged, list)
    return [(line["log_level"], line["event"]) for line in logged]


@pytest.fixture(autouse=True)
def no_earlier_outages() -> None:
    """Forget the outages of other tests, whose servers may have had the same ports."""
    rpc_endpoint._outage_of.cache_clear()


class _Node:
    """An RPC node that answers getSlot with 42, or with `answer`, and with status 503 while `is_away`."""

    is_away = False
    answer = "42"

    async def __call__(self, scope, receive, send) -> None:
        message = await receive()
        number = message["body"].partition(b'"id":')[2].partition(b",")[0].decode()
        status = 503 if self.is_away else 200
        headers = [(b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        body = f'{{"jsonrpc":"2.0","id":{number},"result":{self.answer}}}'
        await send({"type": "http.response.body", "body": body.encode()})


async def _fails(rpc: Rpc, times: int) -> None:
    for _ in range(times):
        with pytest.raises(ChainError):
            await rpc.get_slot()


async def test_an_rpc_that_hangs_is_one_line_and_that_it_answers_again_another(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """However many calls fail, of however many clients of the process; nothing is logged for each retry."""
    async with serving(_Node()) as url, TcpProxy.before(url) as proxy:
        name = proxy.url.removeprefix("http://").rstrip("/")
        async with Rpc([proxy.url], 0.5, 3) as rpc, Rpc([proxy.url], 0.5, 3) as other:
            with caplog.at_level(logging.DEBUG), capture_logs() as logged:
                assert await rpc.get_slot() == 42
                proxy.hang()
                await asyncio.gather(_fails(rpc, 2), _fails(other, 2))
                await proxy.restore()
                assert [await rpc.get_slot(), await other.get_slot()] == [42, 42]
    assert _lines(logged) == [
        ("warning", f"The RPC at {name} does not answer"),
        ("info", f"The RPC at {name} answers again"),
    ]
    assert logged[0]["reason"] == "getSlot: ReadTimeout"
    assert "retry" not in caplog.text


async def test_an_rpc_that_refuses_connections_is_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    async with Rpc([f"http://127.0.0.1:{port}"], 0.5, 5) as rpc:
        with capture_logs() as logged:
            await _fails(rpc, 3)
    assert _lines(logged) == [("warning", f"The RPC at 127.0.0.1:{port} does not answer")]


async def test_one_answer_that_fails_is_no_outage() -> None:
    node = _Node()
    async with serving(node) as url, Rpc([url], attempts=1) as rpc:
        with capture_logs() as logged:
            node.is_away = True
            await _fails(rpc, 1)
            node.is_away = False
            assert await rpc.get_slot() == 42
    assert logged == []


async def test_an_rpc_whose_answers_cannot_be_used_is_two_lines_though_another_one_answers() -> None:
    broken = _Node()
    broken.answer = '"x"'
    async with serving(broken) as url, Rpc([url], attempts=1) as rpc:
        name = url.removeprefix("http://").rstrip("/")
        with capture_logs() as logged:

            async def is_logged() -> bool:
                await _fails(rpc, 1)
                return bool(logged)

            await until(is_logged, within_s=10, every_s=0.1)
            broken.answer = "42"
            assert await rpc.get_slot() == 42
    assert _lines(logged) == [
        ("warning", f"The RPC at {name} does not answer"),
        ("info", f"The RPC at {name} answers again"),
    ]


def test_a_call_that_takes_long_beside_others_that_succeed_is_no_outage() -> None:
    outage = OutageLines("it fails", "it works", reported_after_s=1.0)
    with capture_logs() as logged:
        began_s = time.monotonic() - 5
        outage.succeeded()
        outage.failed("its caller gave up", began_s=began_s)
        outage.succeeded()
    assert logged == []


def test_the_next_outage_is_two_lines_again() -> None:
    outage = OutageLines("it fails", "it works")
    with capture_logs() as logged:
        for _ in range(2):
            outage.failed("first")
            outage.failed(TimeoutError())
            outage.succeeded()
            outage.succeeded()
    assert _lines(logged) == [("warning", "it fails"), ("info", "it works")] * 2


@pytest.fixture
async def proxy(redis_url: str) -> AsyncIterator[TcpProxy]:
    async with TcpProxy.before(redis_url) as before:
        yield before


@pytest.fixture
async def redis(proxy: TcpProxy) -> AsyncIterator[RedisClient]:
    client = redis_client.connect(proxy.url, connections=4, connect_s=0.3, answer_s=0.3)
    yield client
    await client.aclose()


@pytest.mark.parametrize("what", ["rate limits", "relayed transactions", "revocations"])
async def test_while_redis_is_unavailable_a_gateway_logs_two_lines_for_each_thing_that_it_lacks(
    what: str, proxy: TcpProxy, redis: RedisClient
) -> None:
    limiter, tokens = RateLimiter(redis), SessionTokens("secret", redis)
    relay = Relay(Program.from_settings(load_settings(_env_file=None)), None, redis)
    _, token = tokens.issue(Wallet(str(Keypair().pubkey())))

    async def use() -> None:
        match what:
            case "rate limits":
                limiter._paused_until = 0.0
                await limiter.take(RateLimitPolicy("reads", 15), "one")
            case "revocations":
                await tokens.check(token)
            case _:
                await relay._remember(PendingTransaction(Signature("s"), b"", 1, None))

    with capture_logs() as logged:
        await use()
        proxy.cut()
        proxy.refuse()
        for _ in range(4):
            await use()
        await proxy.restore()
        for _ in range(2):
            await use()
    assert [(level, event.startswith(what), event.endswith("again")) for level, event in _lines(logged)] == [
        ("warning", True, False),
        ("info", True, True),
    ]
