"""Handle what every request needs: its id, HEAD, CORS, response headers, metrics, a line in the access log."""

from __future__ import annotations

import time

import structlog

from zmart.services.contract import PROBES, AsgiApp, Receive, Scope, Send
from zmart.services.gateway import metrics
from zmart.services.gateway.http.access_log import AccessLog
from zmart.services.gateway.http.header_sets import Headers, HeaderSet, HeaderSets
from zmart.services.gateway.http.request_context import RequestContext, enter, request_context
from zmart.services.problem_body import request_id_of

_NOT_LOGGED = frozenset((*PROBES, "/health/{service}"))
"""Routes of probes, which are not logged: machines request them every few seconds."""


class Edge:
    """The outermost ASGI application of the gateway."""

    def __init__(self, app: AsgiApp, access_log: AccessLog, headers: HeaderSets) -> None:
        self._app = app
        self._access_log = access_log
        self._headers = headers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request on to the application, with its RequestContext; answer a CORS preflight here."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began_s, given = time.perf_counter(), dict(scope["headers"])
        request = RequestContext(request_id_of(given.get(b"x-request-id")), given, began_s)
        response = _Response(send, request.request_id.encode(), self._headers.of(given.get(b"origin")))
        enter(scope, request)
        method: str = scope["method"]
        received = scope
        if method == "HEAD":  # handled as GET; the server omits the body
            scope = {**scope, "method": "GET"}
        if method == "OPTIONS" and b"access-control-request-method" in given:
            await response.preflight()
        else:
            await self._app(scope, receive, response.send)
        seconds = time.perf_counter() - began_s
        route = str(scope.get("path_template") or "unknown")
        if scope is not received:  # the span around this names its request by what is in the received scope
            received["path_template"] = scope.get("path_template")
        metrics.REQUESTS.count(method, route, response.status, seconds)
        if route not in _NOT_LOGGED:
            self._access_log.note(method, scope["path"], response.status, seconds, request.request_id)


class _Response:
    """A response that is being sent. `send` adds the headers that every response has. `status` is 0 before the response
    has begun."""

    __slots__ = ("_headers", "_request_id", "_send", "status")

    def __init__(self, send: Send, request_id: bytes, headers: HeaderSet) -> None:
        self._send = send
        self._headers = headers
        self._request_id = request_id
        self.status = 0

    async def send(self, message: Scope) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            own: Headers = message.get("headers", [])
            shared, without = self._headers.headers, self._headers.without
            for name, _ in own:
                if name in without:
                    shared = without[name]
            headers = [*own, *shared, (b"x-request-id", self._request_id)]
            message = {"type": "http.response.start", "status": self.status, "headers": headers}
        await self._send(message)

    async def preflight(self) -> None:
        headers = self._headers.preflight
        await self.send({"type": "http.response.start", "status": 204, "headers": headers})
        await self._send({"type": "http.response.body", "body": b""})


def with_request_id(app: AsgiApp) -> AsgiApp:
    """Return an application that runs `app` with the request's id bound to every line that it logs."""

    async def bound(scope: Scope, receive: Receive, send: Send) -> None:
        with structlog.contextvars.bound_contextvars(request_id=request_context(scope).request_id):
            await app(scope, receive, send)

    return bound
