"""The limits of an HTTP connection, and the middleware that applies those of a head and of a body's time."""

from __future__ import annotations

import asyncio
from collections.abc import MutableMapping
from typing import Any, Protocol

import msgspec

from zmart.errors import ZmartError
from zmart.services.contract import AsgiApp, Receive, Scope, Send
from zmart.services.head_bounds import HeadBounds, HeadRefusal
from zmart.services.plain_http import send_problem

CONNECTION = "zmart.connection"
"""The key of a request's scope at which ConnectionBoundsMiddleware finds the connection of a request.

A context variable would be copied into the context of each timer, and a cancelled timer of uvloop keeps its context: no
connection would ever be freed.
"""


class ConnectionBounds(msgspec.Struct, frozen=True):
    """The limits of one connection, in bytes and seconds.

    A head, a body, and the client's reading of an answer have each a time limit; these are checked every `check_s`
    seconds. `unread_bytes`: how much of a body may still arrive after its request was answered. `requests`: how many
    requests a client may send before the first is answered.
    """

    head: HeadBounds = HeadBounds()
    head_within_s: float = 10.0
    body_within_s: float = 10.0
    read_within_s: float = 20.0
    unread_bytes: int = 8 * 1024 * 1024
    requests: int = 100
    check_s: float = 1.0


class CountedConnection(Protocol):
    """A connection that counts the requests which the application answers."""

    def request_begins(self) -> None:
        """Record that the application has received a request."""
        ...

    def request_ends(self) -> None:
        """Record that the application has answered a request."""
        ...


class SlowBody(ZmartError):
    """Report that the client did not send its body in time."""

    def __init__(self) -> None:
        super().__init__("The body did not arrive in time: send it again.")


class UnfinishedBody(ZmartError):
    """Report that the connection ended before the whole body arrived: no answer can be sent."""

    def __init__(self) -> None:
        super().__init__("The connection ended before the whole body had arrived.")


class ConnectionBoundsMiddleware:
    """Wrap an ASGI application: refuse a head that exceeds its bounds, and limit the time of a body.

    The application's `receive` raises SlowBody or UnfinishedBody, and this middleware handles both. The size of a body
    is limited by each application itself.
    """

    def __init__(self, app: AsgiApp, bounds: ConnectionBounds) -> None:
        self._app = app
        self._bounds = bounds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request to the application, or answer it with an error if it exceeds a bound."""
        connection: CountedConnection | None = scope.pop(CONNECTION, None)
        if connection is None:
            await self._app(scope, receive, send)
            return
        connection.request_begins()
        try:
            if (refusal := self._bounds.head.refusal_of(scope)) is not None:
                await _refuse(scope, send, refusal)
            elif scope["method"] in ("GET", "HEAD"):
                await self._app(scope, receive, send)
            else:
                await self._app(scope, _TimedBody(receive, self._bounds.body_within_s), send)
        except UnfinishedBody:
            pass
        except SlowBody as problem:
            await _refuse(scope, send, HeadRefusal(408, str(problem)))
        finally:
            connection.request_ends()


class _TimedBody:
    """The `receive` of a request whose body must arrive within `within_s` seconds.

    Raises SlowBody after that time, and UnfinishedBody when the connection ends before the body is complete.
    """

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
        if message["type"] == "http.disconnect":
            raise UnfinishedBody
        self._has_arrived = not message.get("more_body", False)
        return message


async def _refuse(scope: Scope, send: Send, refusal: HeadRefusal) -> None:
    await send_problem(send, scope, refusal.status, refusal.message, headers=((b"connection", b"close"),))
