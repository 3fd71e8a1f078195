"""Provide the parts of HTTP that the stand-ins need, on bare ASGI: requests, replies, and refusals with a JSON body."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from urllib.parse import parse_qsl

import msgspec

from zmart.errors import ZmartError
from zmart.market.integers import parse_decimal
from zmart.services.contract import Receive, Scope, Send

JSON = {"content-type": "application/json"}


class HttpRefusal(ZmartError):
    """A handler raises this to answer with the HTTP status `status` and `body` as JSON."""

    def __init__(self, status: int, body: object) -> None:
        super().__init__(str(body))
        self.status = status
        self.body = body


class Disconnected(ZmartError):
    """Report that the client disconnected while it sent the body of its request."""


class HttpReply(msgspec.Struct, frozen=True):
    """A response. `body` is sent piece by piece; without a content-length header it is sent chunked."""

    status: int
    headers: Mapping[str, str]
    body: Iterable[bytes] = ()


Handler = Callable[["HttpRequest"], Awaitable[HttpReply]]


class HttpRequest:
    """A request. `query` has the last value of each name; the names in `headers` are in lower case."""

    def __init__(self, scope: Scope, receive: Receive) -> None:
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.query = dict(parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True))
        self.headers = {name.decode(): value.decode("latin-1") for name, value in scope["headers"]}
        self._receive = receive

    async def chunks(self, most: int) -> AsyncIterator[bytes]:
        """Yield the pieces of the body as they arrive.

        Raises HttpRefusal 413 if content-length announces more than `most` bytes, or a body without content-length
        (chunked) has more. Raises Disconnected if the client disconnects.
        """
        announced = parse_decimal(self.headers.get("content-length", ""))
        size = announced or 0
        more = True
        while more:
            _refuse_more(size, most)
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise Disconnected("The client went away.")
            more = message.get("more_body", False)
            piece = message.get("body", b"")
            if announced is None:
                size += len(piece)
                _refuse_more(size, most)
            if piece:
                yield piece

    async def body(self, most: int) -> bytes:
        """Return the whole body. `most` limits its bytes, and errors are raised, as in `chunks`."""
        return b"".join([piece async for piece in self.chunks(most)])


def _refuse_more(size: int, most: int) -> None:
    if size > most:
        raise HttpRefusal(413, {"error": f"The body is larger than {most} bytes."})


def json_reply(value: object, status: int = 200) -> HttpReply:
    """Return a response with `value` as its JSON body."""
    body = msgspec.json.encode(value)
    return HttpReply(status, {**JSON, "content-length": str(len(body))}, (body,))


async def answer(handler: Handler, scope: Scope, receive: Receive, send: Send) -> int:
    """Let `handler` answer one request, and return the HTTP status; 499 if the client disconnected.

    An exception while the response's body is sent is raised. The server closes the connection then, so that no client
    takes the part that was sent for the whole body.
    """
    request = HttpRequest(scope, receive)
    try:
        reply = await handler(request)
    except HttpRefusal as refusal:
        reply = json_reply(refusal.body, refusal.status)
    except Disconnected:
        return 499
    headers = [(name.encode(), value.encode("latin-1")) for name, value in reply.headers.items()]
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    if request.method != "HEAD":
        for piece in reply.body:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body", "body": b""})
    return reply.status
