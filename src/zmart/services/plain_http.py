"""Read request bodies and send whole responses in plain ASGI, for routes outside of the API's framework."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from zmart.client.shapes.system import FieldProblem
from zmart.errors import StoreError
from zmart.services.contract import Receive, Scope, Send
from zmart.services.problem_body import problem_body, request_id_of
from zmart.services.store_refusal import refusal_of

Header = tuple[bytes, bytes]
JSON = "application/json"


async def send_response(
    send: Send, status: int, body: bytes, content_type: str = JSON, headers: tuple[Header, ...] = ()
) -> None:
    """Send a whole response, with `Cache-Control: no-store`."""
    own = [
        (b"content-type", content_type.encode()),
        (b"content-length", b"%d" % len(body)),
        (b"cache-control", b"no-store"),
    ]
    await send({"type": "http.response.start", "status": status, "headers": [*own, *headers]})
    await send({"type": "http.response.body", "body": body})


async def send_json(send: Send, status: int, value: object, retry_after: str | None = None) -> None:
    """Send a value as JSON; `retry_after` is the Retry-After header in seconds."""
    headers = () if retry_after is None else ((b"retry-after", retry_after.encode()),)
    await send_response(send, status, msgspec.json.encode(value), headers=headers)


async def send_problem(
    send: Send,
    scope: Scope,
    status: int,
    message: str,
    retry_after: str | None = None,
    headers: tuple[Header, ...] = (),
    details: Sequence[FieldProblem] = (),
) -> None:
    """Send an error in the shape of the API's errors, with its request id also as a header.

    `retry_after` is the Retry-After header in seconds. `details` names the invalid fields of the request.
    """
    request_id = request_id_of(dict(scope["headers"]).get(b"x-request-id"))
    headers = (*headers, (b"x-request-id", request_id.encode()))
    if retry_after is not None:
        headers = (*headers, (b"retry-after", retry_after.encode()))
    body = problem_body(status, message, scope["path"], request_id, details)
    await send_response(send, status, body, headers=headers)


async def send_store_problem(send: Send, scope: Scope, problem: StoreError) -> None:
    """Send 503 for a failure of the store: a sentence, and a Retry-After header."""
    refusal = refusal_of(problem)
    await send_problem(send, scope, 503, refusal.message, refusal.retry_after)


def path_of(scope: Scope) -> str:
    """Return the path of a request without trailing slashes, which make no difference."""
    path: str = scope["path"]
    return path.rstrip("/") or "/"


def content_encoding_problem(scope: Mapping[str, Any]) -> str | None:
    """Return why a request's compressed body is refused; None if the body is not compressed."""
    encoding = dict(scope["headers"]).get(b"content-encoding", b"").strip().lower()
    if encoding in (b"", b"identity"):
        return None
    name = encoding[:20].decode("latin-1")
    return f"The body is compressed ({name}): send it without Content-Encoding."


async def read_body(receive: Receive, max_bytes: int) -> bytes | None:
    """Return the body of a request; None if it is longer than `max_bytes` bytes. Raises what `receive` raises."""
    body = bytearray()
    while True:
        message = await receive()
        body += message.get("body", b"")
        if len(body) > max_bytes:
            return None
        if not message.get("more_body", False):
            return bytes(body)
