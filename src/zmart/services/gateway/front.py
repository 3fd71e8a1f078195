"""What stands before every route: request id, security headers, CORS, HEAD, the time limit, the access log."""

from __future__ import annotations

import asyncio
import re
import secrets
import time
from collections.abc import Iterable

import structlog

from zmart.services.contract import AsgiApp, Receive, Scope, Send
from zmart.services.gateway import metrics
from zmart.services.gateway.access import AccessLog
from zmart.services.gateway.problems import problem_body

log = structlog.get_logger()

Headers = list[tuple[bytes, bytes]]
_SANE_ID = re.compile(rb"[A-Za-z0-9._:-]{1,64}")
_EXPOSED = "ETag, X-As-Of-Slot, X-Request-Id, RateLimit, RateLimit-Policy, Retry-After"
_ALLOWED = "Authorization, Content-Type, If-None-Match, X-Request-Id"
_METHODS = "GET, HEAD, POST, PUT, DELETE, OPTIONS"
_LATE = "This took too long, most likely because the database or the chain does not answer: try again."


def security_headers(socket_origins: str) -> Headers:
    """The set that helmet sends, with a stricter content policy: everything of a page comes from here."""
    policy = (
        "default-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; img-src 'self' data: https:; "
        f"script-src 'self'; style-src 'self'; font-src 'self'; connect-src 'self' {socket_origins}"
    ).strip()
    return [
        (b"content-security-policy", policy.encode()),
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
        self._security = security_headers(socket_origins)
        self._read_s = read_s
        self._write_s = write_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._inner(scope, receive, send)
            return
        given = dict(scope["headers"])
        visit = _Visit(scope, send, self._common(given.get(b"origin")), given.get(b"x-request-id"))
        if visit.method == "OPTIONS" and b"access-control-request-method" in given:
            await visit.preflight()
        else:
            await self._answer(visit, receive)
        visit.note(self._access)

    async def _answer(self, visit: _Visit, receive: Receive) -> None:
        within_s = self._read_s if visit.method in ("GET", "HEAD") else self._write_s
        try:
            async with asyncio.timeout(within_s):
                await self._inner(visit.inner_scope(), receive, visit.send)
        except TimeoutError:
            log.warning(
                "request took too long", path=visit.path, within_s=within_s, request_id=visit.request_id
            )
            await visit.give_up(503, _LATE)

    def _common(self, origin: bytes | None) -> Headers:
        if origin is None:
            return self._security
        headers = [*self._security, (b"vary", b"Origin")]
        if origin in self._origins:
            headers += [
                (b"access-control-allow-origin", origin),
                (b"access-control-allow-credentials", b"true"),
                (b"access-control-expose-headers", _EXPOSED.encode()),
            ]
        return headers


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
        self._inner_scope = {**self._scope, "method": method, "request_id": self.request_id}
        return self._inner_scope

    async def send(self, message: Scope) -> None:
        if message["type"] == "http.response.start":
            self._status = message["status"]
            message = {**message, "headers": [*message.get("headers", ()), *self._headers]}
        await self._send(message)

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
