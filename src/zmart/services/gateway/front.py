"""What stands before every route: request id, security headers, CORS, HEAD, the time limit, the access log."""

from __future__ import annotations

import asyncio
import re
import secrets
import time
from collections.abc import Iterable
from copy import copy

import structlog

from zmart.services.contract import AsgiApp, Receive, Scope, Send
from zmart.services.gateway import metrics
from zmart.services.gateway.access import AccessLog
from zmart.services.gateway.problems import problem_body

log = structlog.get_logger()

Headers = list[tuple[bytes, bytes]]
_SANE_ID = re.compile(rb"[A-Za-z0-9._:-]{1,64}")
_CSP = b"content-security-policy"
REQUEST_ID = "request_id"
"""Scope key: the request came through a front already, under this id."""
_EXPOSED = "ETag, X-As-Of-Slot, X-Request-Id, RateLimit, RateLimit-Policy, Retry-After"
_ALLOWED = "Authorization, Content-Type, If-None-Match, X-Request-Id"
_METHODS = "GET, HEAD, POST, PUT, DELETE, OPTIONS"
_RETRY_AFTER_S = b"2"
_BODY_WITHIN_S = 10.0
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
        self._origins = frozenset(origin.encode() for origin in origins)
        self._security = [*security_headers(socket_origins), (b"vary", b"Origin")]
        self._read_s = read_s
        self._write_s = write_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or REQUEST_ID in scope:
            await self._inner(scope, receive, send)
            return
        given = dict(scope["headers"])
        visit = _Visit(scope, send, self._common(given.get(b"origin")), given.get(b"x-request-id"))
        if visit.method == "OPTIONS" and b"access-control-request-method" in given:
            await visit.preflight()
        else:
            await self._answer(visit, receive)
        visit.note(self._access)

    def around(self, app: AsgiApp) -> Front:
        """The same front before `app`, which may lead here again."""
        other = copy(self)
        other._inner = app
        return other

    async def _answer(self, visit: _Visit, receive: Receive) -> None:
        within_s = self._read_s if visit.method in ("GET", "HEAD") else self._write_s
        body = None if visit.method in ("GET", "HEAD") else _Body(receive, within_s)
        try:
            async with asyncio.timeout(within_s) as limit:
                if body is not None:
                    body.limit = limit
                await self._inner(visit.inner_scope(), body or receive, visit.send)
        except TimeoutError:
            log.warning(
                "request took too long", path=visit.path, within_s=within_s, request_id=visit.request_id
            )
            is_slow = body is not None and body.is_awaited
            await visit.give_up(*((408, _SLOW) if is_slow else (503, _LATE)))

    def _common(self, origin: bytes | None) -> Headers:
        if origin is None or origin not in self._origins:
            return self._security
        return [
            *self._security,
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

    def __init__(self, scope: Scope, send: Send, common: Headers, given: bytes | None) -> None:
        sane = given is not None and _SANE_ID.fullmatch(given)
        self.request_id = given.decode() if given and sane else secrets.token_hex(12)
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self._scope = scope
        self._send = send
        self._headers = [*common, (b"x-request-id", self.request_id.encode())]
        self._started = time.perf_counter()
        self._status = 0
        self._inner_scope: Scope = scope

    def inner_scope(self) -> Scope:
        """HEAD is answered as GET; the server leaves the body out."""
        method = "GET" if self.method == "HEAD" else self.method
        self._inner_scope = {**self._scope, "method": method, REQUEST_ID: self.request_id}
        return self._inner_scope

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
        seconds = time.perf_counter() - self._started
        route = str(self._inner_scope.get("path_template") or "unknown")
        metrics.count(self.method, route, self._status, seconds)
        access.note(self.method, self.path, self._status, round(seconds * 1000, 2), self.request_id)


def with_request_id(app: AsgiApp) -> AsgiApp:
    """Every line that is logged while `app` works bears the request's id."""

    async def bound(scope: Scope, receive: Receive, send: Send) -> None:
        with structlog.contextvars.bound_contextvars(request_id=scope.get("request_id", "")):
            await app(scope, receive, send)

    return bound
