"""Limit each HTTP connection: time and size of a head, time of a body, time to read an answer.

uvicorn times only idle connections that were answered before, and bounds neither heads nor clients that never read.
`LimitedConnection` stands between a transport and uvicorn's protocol and uses of both only what asyncio publishes;
`ConnectionBoundsMiddleware` tells it, as an ASGI application, when a head is complete and when its answer is sent.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, MutableMapping
from contextvars import ContextVar
from typing import Any, cast

import msgspec
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from zmart.errors import ZmartError
from zmart.services.contract import AsgiApp, Receive, Scope, Send
from zmart.services.plain_http import send_response

KEEP_ALIVE_S = 75
"""How long a connection may rest between two requests; uvicorn's own timer."""

_current: ContextVar[LimitedConnection | None] = ContextVar("connection", default=None)


class ConnectionBounds(msgspec.Struct, frozen=True):
    """The limits of one connection. It is checked every `check_s`, so the limits in seconds are exact to that much."""

    head_within_s: float = 10.0
    head_bytes: int = 64 * 1024
    headers: int = 100
    body_within_s: float = 10.0
    read_within_s: float = 20.0
    check_s: float = 1.0


class LimitedConnection(asyncio.Protocol):
    """One connection. While no request is in progress it waits for a head, from the first byte on (a new connection:
    from the beginning)."""

    def __init__(self, inner: asyncio.Protocol, bounds: ConnectionBounds) -> None:
        self._inner = inner
        self._bounds = bounds
        self._loop = asyncio.get_running_loop()
        self._in_progress = 0
        self._head_bytes = 0
        self._head_since: float | None = None
        self._paused_since: float | None = None
        self._check: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to wait for the first head."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is one by its methods alone
        self._head_since = self._loop.time()
        self._check = self._loop.call_later(self._bounds.check_s, self._check_time)
        self._inner.connection_made(transport)

    def data_received(self, data: bytes) -> None:
        """Count what belongs to a head, and pass all on."""
        if not self._in_progress:
            self._head_bytes += len(data)
            if self._head_since is None:
                self._head_since = self._loop.time()
        _current.set(self)
        self._inner.data_received(data)
        if self._head_bytes > self._bounds.head_bytes:
            # In the next turn: by then the request whose head is complete now has begun.
            self._loop.call_soon(self._refuse_long_head)

    def eof_received(self) -> bool | None:
        """Pass it on."""
        return self._inner.eof_received()

    def pause_writing(self) -> None:
        """Begin to wait for the client to read."""
        self._paused_since = self._loop.time()
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        """Stop waiting for the client."""
        self._paused_since = None
        self._inner.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop watching the connection."""
        if self._check is not None:
            self._check.cancel()
        self._inner.connection_lost(exc)

    def request_begins(self) -> None:
        """Note that a head is complete."""
        self._in_progress += 1
        self._head_since = None
        self._head_bytes = 0

    def request_ends(self) -> None:
        """Note that a request was answered."""
        self._in_progress -= 1

    def _refuse_long_head(self) -> None:
        if not self._in_progress and self._head_bytes > self._bounds.head_bytes:
            self._transport.abort()

    def _check_time(self) -> None:
        """End the connection if it has used up its time; look again later if not."""
        now = self._loop.time()
        slow_head = self._head_since is not None and now - self._head_since >= self._bounds.head_within_s
        slow_reader = (
            self._paused_since is not None and now - self._paused_since >= self._bounds.read_within_s
        )
        if slow_head or slow_reader:
            self._transport.abort()
            return
        if self._transport.is_closing() and self._paused_since is None:
            self._paused_since = (
                now  # closed, but the rest of an answer waits for a client that may never read it
            )
        self._check = self._loop.call_later(self._bounds.check_s, self._check_time)


class SlowBody(ZmartError):
    """The client did not send its body in time."""

    def __init__(self) -> None:
        super().__init__("The body did not arrive in time: send it again.")


class ConnectionBoundsMiddleware:
    """An ASGI application around another one. Refuses too many headers; the application's `receive` raises SlowBody.
    How large a body may be is for each application to say: it knows what it expects."""

    def __init__(self, app: AsgiApp, bounds: ConnectionBounds) -> None:
        self._app = app
        self._bounds = bounds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request within the bounds."""
        connection = _current.get() if scope["type"] == "http" else None
        if connection is None:
            await self._app(scope, receive, send)
            return
        connection.request_begins()
        try:
            if len(scope["headers"]) > self._bounds.headers:
                await _refuse(send, 431, "Request Header Fields Too Large", "Send fewer headers.")
            elif scope["method"] in ("GET", "HEAD"):
                await self._app(scope, receive, send)
            else:
                await self._app(scope, _TimedBody(receive, self._bounds.body_within_s), send)
        except SlowBody as problem:
            await _refuse(send, 408, "Request Timeout", str(problem))
        finally:
            connection.request_ends()


class _TimedBody:
    """`receive` of a request whose body has `within_s` to arrive. Raises SlowBody."""

    def __init__(self, receive: Receive, within_s: float) -> None:
        self._receive = receive
        self._deadline_s = asyncio.get_running_loop().time() + within_s
        self._has_arrived = False

    async def __call__(self) -> MutableMapping[str, Any]:
        if self._has_arrived:
            return await self._receive()
        try:
            async with asyncio.timeout_at(self._deadline_s):
                message = await self._receive()
        except TimeoutError:
            raise SlowBody from None
        self._has_arrived = not message.get("more_body", False)
        return message


async def _refuse(send: Send, status: int, error: str, message: str) -> None:
    body = msgspec.json.encode({"error": error, "message": message, "status": status})
    await send_response(send, status, body, headers=((b"connection", b"close"),))


def protocol_factory(bounds: ConnectionBounds) -> Callable[..., asyncio.Protocol]:
    """Return the factory that uvicorn calls for each connection (`http` of its Config)."""

    def make(**options: object) -> asyncio.Protocol:
        return LimitedConnection(HttpToolsProtocol(**options), bounds)  # type: ignore[arg-type]  # passed on as given

    return make


def server_config(app: AsgiApp, bounds: ConnectionBounds | None = None, **options: object) -> uvicorn.Config:
    """uvicorn's configuration of every service: httptools, no logs of its own, no headers of its own, these limits."""
    bounds = bounds or ConnectionBounds()
    return uvicorn.Config(
        ConnectionBoundsMiddleware(app, bounds),
        http=protocol_factory(bounds),  # type: ignore[arg-type]  # typed as a class; any callable serves
        loop="none",
        ws="none",
        log_config=None,
        access_log=False,
        proxy_headers=False,  # each service knows its own TRUSTED_PROXIES
        server_header=False,
        date_header=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        **options,  # type: ignore[arg-type]
    )
