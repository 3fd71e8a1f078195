"""The time that the router may take for a response: its work counts, the client's time to read does not."""

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
    """What the application sends to a client that reads each part only after `reading_s`."""
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
    """A14: cancelled while it waited for the client, it got a response 500 behind its beginning."""
    sent = await _sent(_respond, method, reading_s=0.25)
    assert [message.get("body", b"") for message in sent] == [b"", b"a part", b"the rest"]


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_response_that_does_not_begin_in_time_is_503(method: str) -> None:
    sent = await _sent(_hang, method, reading_s=0)
    assert sent[0]["status"] == 503
