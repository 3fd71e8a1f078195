"""A6, W7, A15: tests of the webhook on both ports: the sender is checked first, and the size of a body is bounded."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from kit.indexer import settings_of
from kit.raw_client import RawClient, connected, listening, request, served
from zmart.services.connection_bounds import ConnectionBounds
from zmart.services.indexer.routes import webhook_app
from zmart.services.webhook import PATH, WebhookReceiver
from zmart.store.pool import Pool

SECRET = "what Helius echoes, of 32 characters"
MOST = 100_000
CHUNKED = "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n"
KNOWN = f"Authorization: {SECRET}\r\n"
BOUNDS = ConnectionBounds(body_within_s=0.3, unread_bytes=200_000, check_s=0.05)


@asynccontextmanager
async def receiving(
    port_of: str, pool: Pool, database_url: str, redis_url: str, **more: object
) -> AsyncIterator[RawClient]:
    """Yield a client of the gateway's or of the indexer's webhook."""
    settings = {"helius_webhook_secret": SECRET, "webhook_max_body_bytes": MOST, **more}
    async with contextlib.AsyncExitStack() as stack:
        if port_of == "gateway":
            port = (
                await stack.enter_async_context(served(database_url, redis_url, bounds=BOUNDS, **settings))
            ).port
        else:
            receiver = WebhookReceiver(pool, settings_of(database_url, "http://unused", **settings))
            port = await stack.enter_async_context(listening(webhook_app(receiver), BOUNDS))
        yield await stack.enter_async_context(connected(port))


both_ports = pytest.mark.parametrize("port_of", ["gateway", "indexer"])


@both_ports
@pytest.mark.parametrize("authorization", ["", "Authorization: wrong\r\n", "x-helius-signature: 00\r\n"])
async def test_who_does_not_know_the_secret_is_refused_before_the_body(
    port_of: str, authorization: str, pool: Pool, database_url: str, redis_url: str
) -> None:
    """W7: a sender without the secret is refused before the body, and what is sent after that is bounded."""
    async with receiving(port_of, pool, database_url, redis_url) as client:
        client.writer.write(request(PATH, CHUNKED + authorization, "POST"))
        assert (await client.answer())[0] == 401
        client.writer.write((b"ffff\r\n" + b"x" * 0xFFFF + b"\r\n") * 8)
        assert await client.is_closed()


@both_ports
@pytest.mark.parametrize("by", ["secret", "hmac"])
async def test_a_chunked_body_is_read_up_to_its_bound(
    port_of: str, by: str, pool: Pool, database_url: str, redis_url: str
) -> None:
    """A6: a body without a length is 413 as soon as it is too long, and not at its end."""
    proof = KNOWN if by == "secret" else f"X-Helius-Signature: {'0' * 64}\r\n"
    async with receiving(port_of, pool, database_url, redis_url, helius_webhook_hmac=True) as client:
        client.writer.write(request(PATH, CHUNKED + proof, "POST"))
        client.writer.write((b"ffff\r\n" + b"[" * 0xFFFF + b"\r\n") * 2)
        assert (await client.answer())[0] == 413


@both_ports
async def test_an_announced_length_is_judged_before_the_body(
    port_of: str, pool: Pool, database_url: str, redis_url: str
) -> None:
    async with receiving(port_of, pool, database_url, redis_url) as client:
        head = f"Content-Type: application/json\r\nContent-Length: {MOST + 1}\r\n{KNOWN}"
        client.writer.write(request(PATH, head, "POST"))
        assert (await client.answer())[0] == 413


@both_ports
async def test_a_body_that_drips_is_given_up(
    port_of: str, pool: Pool, database_url: str, redis_url: str
) -> None:
    """A15: a body that does not arrive in time is answered with 408, and its connection ends."""
    async with receiving(port_of, pool, database_url, redis_url) as client:
        client.writer.write(request(PATH, CHUNKED + KNOWN, "POST") + b"1\r\n[\r\n")
        assert (await client.answer())[0] == 408
        assert await client.is_closed()


@both_ports
async def test_a_signed_body_is_accepted(port_of: str, pool: Pool, database_url: str, redis_url: str) -> None:
    async with receiving(port_of, pool, database_url, redis_url, helius_webhook_hmac=True) as client:
        signature = hmac.new(SECRET.encode(), b"[]", hashlib.sha256).hexdigest()
        head = f"Content-Type: application/json\r\nContent-Length: 2\r\nX-Helius-Signature: {signature}\r\n"
        client.writer.write(request(PATH, head, "POST") + b"[]")
        assert (await client.answer())[0] == 200
