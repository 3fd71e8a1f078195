"""Limit the time that the router may take until a response begins; a request that takes longer is answered with 503."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextvars import ContextVar

import msgspec
import structlog

from zmart.services.contract import AsgiApp, Receive, Scope, Send
from zmart.services.gateway.http.request_context import RequestContext, request_context
from zmart.services.plain_http import send_response
from zmart.services.problem_body import problem_body

log = structlog.get_logger()

_SAFE = ("GET", "HEAD")
_ON_CHAIN = ("/api/markets", "/api/trades", "/api/transactions", "/api/local")
"""The paths of writes that wait for an RPC or a pin provider. Other writes may call `wait_for_chain`."""
_LANDS = ("/approve", "/cancel")
"""The ends of those paths that may wait until a transaction of the operator has landed; they answer "pending" after
12 s."""
_AT_LEAST_S = 0.05
_TIMED_OUT = (
    "The request timed out, most likely because the database or the chain does not answer: try again."
)

_extend: ContextVar[Callable[[], None] | None] = ContextVar("extend", default=None)


def wait_for_chain() -> None:
    """Give the write that is being handled the limit of those that wait for the chain, counted from the same moment.

    A vote needs the chain only under some rules. Under the others it is to be refused as soon as any write while the
    database does not answer. Does nothing outside of a write's handler.
    """
    extend = _extend.get()
    if extend is not None:
        extend()


class TimeLimits(msgspec.Struct, frozen=True):
    """Time limits in seconds. `read_s` and the limits of writes: how long a request may take until its response begins,
    a write from the arrival of its body on. `body_s`: how long a body may take to arrive. `connection_s`: how long a
    request waits for a free connection to PostgreSQL."""

    read_s: float = 1.8
    write_s: float = 1.8
    write_on_chain_s: float = 4.8
    write_that_lands_s: float = 15.0
    body_s: float = 11.0
    connection_s: float = 1.5

    def of(self, method: str, path: str) -> float:
        """Return the limit in seconds of a request with this method and path."""
        if method in _SAFE:
            return self.read_s
        if not path.startswith(_ON_CHAIN):
            return self.write_s
        return self.write_that_lands_s if path.endswith(_LANDS) else self.write_on_chain_s


class TimeLimit:
    """An ASGI application around the router that limits the time until a response begins."""

    def __init__(self, app: AsgiApp, limits: TimeLimits) -> None:
        self._app = app
        self._limits = limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request to the router, and answer with 503 if no response begins within its limit."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        within_s = self._limits.of(scope["method"], scope["path"])
        request = request_context(scope)
        is_read = scope["method"] in _SAFE
        waited_s = time.perf_counter() - request.began_s  # in the response cache
        left_s = max(within_s - waited_s, _AT_LEAST_S) if is_read else self._limits.body_s + within_s
        limit = asyncio.timeout(left_s)
        response = _Begun(send, limit)
        extend = None if is_read else _once(response, self._limits.write_on_chain_s - within_s)
        entered = _extend.set(extend)
        try:
            async with limit:
                arriving = receive if is_read else _watched(receive, limit, within_s, response)
                await self._app(scope, arriving, response.send)
        except TimeoutError:
            path, request_id = scope["path"], request.request_id
            log.warning("request took too long", path=path, within_s=within_s, request_id=request_id)
            if not response.has_begun:
                await _give_up(scope, request, send)
        finally:
            _extend.reset(entered)


class _Begun:
    """A `send` that ends the time limit when the response begins: a response that has begun cannot be replaced by 503.
    What follows is the client's time to read, which services/connection_limits.py limits: `send` waits while buffers
    are full."""

    __slots__ = ("_limit", "_send", "has_begun")

    def __init__(self, send: Send, limit: asyncio.Timeout) -> None:
        self._send = send
        self._limit = limit
        self.has_begun = False

    async def send(self, message: Scope) -> None:
        if not self.has_begun and not self._limit.expired():
            self._limit.reschedule(None)
        self.has_begun = True
        await self._send(message)

    def extend(self, seconds: float) -> None:
        """End the time limit so many seconds later, unless it is over."""
        ends_at = self._limit.when()
        if ends_at is not None and not self._limit.expired():
            self._limit.reschedule(ends_at + seconds)


def _once(response: _Begun, seconds: float) -> Callable[[], None]:
    """Return a function that extends the limit once, however often it is called; not at all by a negative time."""
    left = [max(seconds, 0.0)]

    def extend() -> None:
        response.extend(left[0])
        left[0] = 0.0

    return extend


async def _give_up(scope: Scope, request: RequestContext, send: Send) -> None:
    body = problem_body(503, _TIMED_OUT, scope["path"], request.request_id)
    await send_response(send, 503, body, headers=((b"retry-after", b"2"),))


def _watched(receive: Receive, limit: asyncio.Timeout, within_s: float, response: _Begun) -> Receive:
    """Return a `receive` that starts the limit of the response when the body has arrived."""

    async def watched() -> Scope:
        message = await receive()
        if not message.get("more_body", False) and not response.has_begun:
            limit.reschedule(asyncio.get_running_loop().time() + within_s)
        return message

    return watched
