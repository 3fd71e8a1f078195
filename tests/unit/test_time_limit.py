"""The time limit of a response counts the router's work, not the time in which the client reads."""

from __future__ import annotations

import asyncio
import time

import pytest

from zmart.services.contract import Receive, Scope, Send
from zmart.services.gateway.http.request_context import RequestContext, enter
from zmart.services.gateway.http.time_limit import TimeLimit, TimeLimits, wait_for_chain

LIMITS = TimeLimits(read_s=0.1, write_s=0.1, body_s=0.1)
LIMITS_ON_CHAIN = TimeLimits(read_s=0.06, write_s=0.06, write_on_chain_s=600.0)


async def _respond(_: Scope, receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"a part", "more_body": True})
    await receive()
    await send({"type": "http.response.body", "body": b"the rest"})


async def _hang(_: Scope, receive: Receive, send: Send) -> None:
    await asyncio.Event().wait()


async def _sent(app: object, method: str, reading_s: float, limits: TimeLimits = LIMITS) -> list[Scope]:
    """Return the messages that the application sends to a client that takes `reading_s` seconds to read each one."""
    sent: list[Scope] = []

    async def receive() -> Scope:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Scope) -> None:
        await asyncio.sleep(reading_s)
        sent.append(message)

    scope: Scope = {"type": "http", "method": method, "path": "/docs", "headers": []}
    enter(scope, RequestContext("a-request", {}, time.perf_counter()))
    await TimeLimit(app, limits)(scope, receive, send)  # type: ignore[arg-type]
    return sent


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_response_that_a_client_reads_slowly_is_sent_whole(method: str) -> None:
    """A14: a slowly read response is sent whole; it is not cancelled and followed by a response 500."""
    sent = await _sent(_respond, method, reading_s=0.25)
    assert [message.get("body", b"") for message in sent] == [b"", b"a part", b"the rest"]


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_response_that_does_not_begin_in_time_is_503(method: str) -> None:
    sent = await _sent(_hang, method, reading_s=0)
    assert sent[0]["status"] == 503


async def _wait_for_chain(_: Scope, receive: Receive, send: Send) -> None:
    """Handle a request that waits for the chain, for longer than the limit of those that do not."""
    ends_at = asyncio.get_running_loop().time() + 2 * LIMITS_ON_CHAIN.write_s
    await receive()
    wait_for_chain()
    wait_for_chain()
    await asyncio.create_task(_until(ends_at))
    await send({"type": "http.response.start", "status": 201, "headers": []})


async def _until(ends_at: float) -> None:
    wait_for_chain()  # from a task of the handler, as the reading of several wallets is
    await asyncio.sleep(ends_at - asyncio.get_running_loop().time())


@pytest.mark.parametrize(("method", "status"), [("POST", 201), ("GET", 503)])
async def test_only_a_write_may_wait_for_the_chain_and_says_so_when_it_does(method: str, status: int) -> None:
    """A1: under a rule that asks an RPC a vote waits for it as other writes do, and else no longer than a comment."""
    sent = await _sent(_wait_for_chain, method, reading_s=0, limits=LIMITS_ON_CHAIN)
    assert sent[0]["status"] == status


async def test_waiting_for_the_chain_ends_too() -> None:
    """However often it is said, the limit is that of writes that wait for the chain."""
    limits = TimeLimits(write_s=0.02, write_on_chain_s=0.06)

    async def hang(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        for _ in range(1_000):
            wait_for_chain()
        await _hang(scope, receive, send)

    async with asyncio.timeout(10):
        assert (await _sent(hang, "POST", reading_s=0, limits=limits))[0]["status"] == 503
