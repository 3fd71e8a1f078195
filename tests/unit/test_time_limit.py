"""The time limit of a response counts the router's work, not the time in which the client reads."""

from __future__ import annotations

import asyncio
import time

import pytest

from zmart.services.contract import Receive, Scope, Send
from zmart.services.gateway.http.request_context import RequestContext, enter
from zmart.services.gateway.http.time_limit import TimeLimit, TimeLimits

LIMITS = TimeLimits(read_s=0.1, write_s=0.1, body_s=0.1)


async def _respond(_: Scope, receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"a part", "more_body": True})
    await receive()
    await send({"type": "http.response.body", "body": b"the rest"})


async def _hang(_: Scope, receive: Receive, send: Send) -> None:
    await asyncio.Event().wait()


async def _sent(app: object, method: str, reading_s: float) -> list[Scope]:
    """Return the messages that the application sends to a client that takes `reading_s` seconds to read each one."""
    sent: list[Scope] = []

    async def receive() -> Scope:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Scope) -> None:
        await asyncio.sleep(reading_s)
        sent.append(message)

    scope: Scope = {"type": "http", "method": method, "path": "/docs", "headers": []}
    enter(scope, RequestContext("a-request", {}, time.perf_counter()))
    await TimeLimit(app, LIMITS)(scope, receive, send)  # type: ignore[arg-type]
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
