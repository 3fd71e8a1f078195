"""Read bodies and send whole responses in plain ASGI, for the routes that are not the API's."""

from __future__ import annotations

import msgspec

from zmart.errors import StoreError
from zmart.market.times import now_iso
from zmart.services.contract import Receive, Send
from zmart.services.store_refusal import refusal_of

Header = tuple[bytes, bytes]
JSON = "application/json"


async def send_response(
    send: Send, status: int, body: bytes, content_type: str = JSON, headers: tuple[Header, ...] = ()
) -> None:
    """Send a response that no cache keeps."""
    own = [
        (b"content-type", content_type.encode()),
        (b"content-length", b"%d" % len(body)),
        (b"cache-control", b"no-store"),
    ]
    await send({"type": "http.response.start", "status": status, "headers": [*own, *headers]})
    await send({"type": "http.response.body", "body": body})


async def send_json(send: Send, status: int, value: object, retry_after: str | None = None) -> None:
    """Send a value as JSON; `retry_after` is in seconds."""
    headers = () if retry_after is None else ((b"retry-after", retry_after.encode()),)
    await send_response(send, status, msgspec.json.encode(value), headers=headers)


async def send_problem(
    send: Send,
    status: int,
    error: str,
    message: str,
    path: str,
    retry_after: str | None = None,
    headers: tuple[Header, ...] = (),
) -> None:
    """Send an error in the shape of the API's errors; `retry_after` is in seconds."""
    problem = {"error": error, "message": message, "status": status, "timestamp": now_iso(), "path": path}
    if retry_after is not None:
        headers = (*headers, (b"retry-after", retry_after.encode()))
    await send_response(send, status, msgspec.json.encode(problem), headers=headers)


async def send_store_problem(send: Send, problem: StoreError, path: str) -> None:
    """Send 503 with a sentence about the store, and when to ask again."""
    refusal = refusal_of(problem)
    await send_problem(send, 503, "Service Unavailable", refusal.message, path, refusal.retry_after)


async def read_body(receive: Receive, max_bytes: int) -> bytes | None:
    """Return the body; None if it is longer than `max_bytes`."""
    body = bytearray()
    while True:
        message = await receive()
        body += message.get("body", b"")
        if len(body) > max_bytes:
            return None
        if not message.get("more_body", False):
            return bytes(body)
