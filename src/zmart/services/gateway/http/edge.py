"""What stands before every route: request id, security headers, CORS, HEAD, the time limit, the access log."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from copy import copy

import structlog

from zmart.services.contract import AsgiApp, Receive, Scope, Send
from zmart.services.gateway import metrics
from zmart.services.gateway.http.access_log import AccessLog
from zmart.services.gateway.http.asked import Asked, Common, Headers, request_id_of
from zmart.services.gateway.http.hot import Hot
from zmart.services.gateway.http.problems import problem_body

log = structlog.get_logger()

_CSP = b"content-security-policy"
REQUEST_ID = "request_id"
"""Scope key: the request came through a front already, under this id."""
_EXPOSED = "ETag, X-As-Of-Slot, X-Request-Id, RateLimit, RateLimit-Policy, Retry-After"
_ALLOWED = "Authorization, Content-Type, If-None-Match, X-Request-Id"
_METHODS = "GET, HEAD, POST, PUT, DELETE, OPTIONS"
_RETRY_AFTER_S = b"2"
_BODY_WITHIN_S = 10.0
_WRITE_OFF_CHAIN_S = 5.0
_ON_CHAIN = ("/api/markets", "/api/trades", "/api/transactions", "/api/local")
"""Writes that wait for an RPC or a pin provider."""
_AT_LEAST_S = 0.05
_LATE = "This took too long, most likely because the database or the chain does not answer: try again."
_SLOW = "The body did not arrive in time: send it again."


def security_headers(socket_origins: str) -> Headers:
    """The set that helmet sends, with a stricter content policy: everything of a page comes from here."""
    policy = (
        "default-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; img-src 'self' data: https:; "
        f"script-src 'self'; style-src 'self'; font-src 'self'; connect-src 'self' {socket_origins}"
    ).strip()
    return [
        (_CSP, policy.encode()),
        (b"strict-transport-security", b"max-age=31536000; includeSubDomains"),
        (b"x-content-type-options", b"nosniff"),
        (b"x-frame-options", b"SAMEORIGIN"),
        (b"referrer-policy", b"no-referrer"),
        (b"cross-origin-opener-policy", b"same-origin"),
        (b"cross-origin-resource-policy", b"same-origin"),
        (b"origin-agent-cluster", b"?1"),
        (b"x-dns-prefetch-control", b"off"),
        (b"x-download-options", b"noopen"),
        (b"x-permitted-cross-domain-policies", b"none"),
        (b"x-xss-protection", b"0"),
    ]


class Front:
    """An ASGI application around another one. `seconds(path, method)` is how long an answer may take."""

    def __init__(
        self,
        inner: AsgiApp,
        access: AccessLog,
        origins: Iterable[str],
        socket_origins: str,
        read_s: float,
        write_s: float,
    ) -> None:
        self._inner = inner
        self._access = access
        security = [*security_headers(socket_origins), (b"vary", b"Origin")]
        self._common: dict[bytes | None, Common] = {None: Common(security)}
        for origin in (listed.encode() for listed in origins):
            self._common[origin] = Common([*security, *_cors_headers(origin)])
        self._read_s = read_s
        self._write_s = write_s
        self.hot: Hot | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or REQUEST_ID in scope:
            await self._inner(scope, receive, send)
            return
        began, given = time.perf_counter(), dict(scope["headers"])
        common = self._common.get(given.get(b"origin"), self._common[None])
        asked = Asked(scope, given, common, request_id_of(given.get(b"x-request-id")), began)
        if self.hot is not None and await self.hot.answers(asked, send):
            return
        visit = _Visit(asked, send)
        if visit.method == "OPTIONS" and b"access-control-request-method" in given:
            await visit.preflight()
        else:
            await self._answer(visit, receive)
        visit.note(self._access)
        if self.hot is not None:
            self.hot.learn(asked, visit.inner)

    def around(self, app: AsgiApp) -> Front:
        """The same front before `app`, which may lead here again."""
        other = copy(self)
        other._inner = app
        return other

    def _within_s(self, visit: _Visit) -> float:
        if visit.method in ("GET", "HEAD"):
            return self._read_s
        return self._write_s if visit.path.startswith(_ON_CHAIN) else min(self._write_s, _WRITE_OFF_CHAIN_S)

    async def _answer(self, visit: _Visit, receive: Receive) -> None:
        within_s = max(
            _AT_LEAST_S, self._within_s(visit) - visit.seconds()
        )  # the short way may have waited already
        body = None if visit.method in ("GET", "HEAD") else _Body(receive, within_s)
        try:
            async with asyncio.timeout(within_s) as limit:
                if body is not None:
                    body.limit = limit
                await self._inner(visit.inner, body or receive, visit.send)
        except TimeoutError:
            log.warning(
                "request took too long", path=visit.path, within_s=within_s, request_id=visit.request_id
            )
            is_slow = body is not None and body.is_awaited
            await visit.give_up(*((408, _SLOW) if is_slow else (503, _LATE)))


def _cors_headers(origin: bytes) -> Headers:
    return [
        (b"access-control-allow-origin", origin),
        (b"access-control-allow-credentials", b"true"),
        (b"access-control-expose-headers", _EXPOSED.encode()),
    ]


class _Body:
    """What the client sends. It has a time of its own to arrive; the time of the answer begins behind it."""

    def __init__(self, receive: Receive, within_s: float) -> None:
        self._receive = receive
        self._within_s = within_s
        self._has_ended = False
        self._until = asyncio.get_running_loop().time() + _BODY_WITHIN_S
        self.limit: asyncio.Timeout | None = None
        self.is_awaited = False

    async def __call__(self) -> Scope:
        if self._has_ended or self.limit is None:
            return await self._receive()
        self.is_awaited = True
        self.limit.reschedule(self._until)
        message = await self._receive()
        self.is_awaited = False
        self._has_ended = not message.get("more_body", False)
        self.limit.reschedule(asyncio.get_running_loop().time() + self._within_s)
        return message


class _Visit:
    """One request on its way through."""

    def __init__(self, asked: Asked, send: Send) -> None:
        self.request_id = asked.request_id
        self.method: str = asked.scope["method"]
        self.path: str = asked.scope["path"]
        # HEAD is answered as GET; the server leaves the body out.
        method = "GET" if self.method == "HEAD" else self.method
        self.inner: Scope = {**asked.scope, "method": method, REQUEST_ID: self.request_id}
        self._send = send
        self._headers = [*asked.common.headers, (b"x-request-id", self.request_id.encode())]
        self._began = asked.began
        self._status = 0

    def seconds(self) -> float:
        """Since the request came."""
        return time.perf_counter() - self._began

    async def send(self, message: Scope) -> None:
        if message["type"] == "http.response.start":
            self._status = message["status"]
            message = {**message, "headers": self._with_ours(message)}
        await self._send(message)

    def _with_ours(self, message: Scope) -> Headers:
        """A page that brings a content policy of its own keeps it."""
        given: Headers = [*message.get("headers", ())]
        brings = any(name == _CSP for name, _ in given)
        return given + ([pair for pair in self._headers if pair[0] != _CSP] if brings else self._headers)

    async def preflight(self) -> None:
        headers = [
            (b"access-control-allow-methods", _METHODS.encode()),
            (b"access-control-allow-headers", _ALLOWED.encode()),
            (b"access-control-max-age", b"600"),
        ]
        allowed = any(name == b"access-control-allow-origin" for name, _ in self._headers)
        await self.send({"type": "http.response.start", "status": 204, "headers": headers if allowed else []})
        await self._send({"type": "http.response.body", "body": b""})

    async def give_up(self, status: int, message: str) -> None:
        """Answer with an error unless the answer has begun already."""
        if self._status:
            return
        body = problem_body(status, message, self.path, self.request_id)
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        headers.append((b"retry-after", _RETRY_AFTER_S) if status == 503 else (b"connection", b"close"))
        await self.send({"type": "http.response.start", "status": status, "headers": headers})
        await self._send({"type": "http.response.body", "body": body})

    def note(self, access: AccessLog) -> None:
        """Count it and log it."""
        seconds = self.seconds()
        route = str(self.inner.get("path_template") or "unknown")
        metrics.REQUESTS.count(self.method, route, self._status, seconds)
        access.note(self.method, self.path, self._status, seconds, self.request_id)


def with_request_id(app: AsgiApp) -> AsgiApp:
    """Every line that is logged while `app` works bears the request's id."""

    async def bound(scope: Scope, receive: Receive, send: Send) -> None:
        with structlog.contextvars.bound_contextvars(request_id=scope.get("request_id", "")):
            await app(scope, receive, send)

    return bound
