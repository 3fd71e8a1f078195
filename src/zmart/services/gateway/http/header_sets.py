"""Prepare the security and CORS headers of responses, as one set of headers for each origin."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

from zmart.setting_values import is_loopback_origin

Headers = list[tuple[bytes, bytes]]

_CONTENT_POLICY = b"content-security-policy"
_RESOURCE_POLICY = b"cross-origin-resource-policy"
_REPLACEABLE = (_CONTENT_POLICY, _RESOURCE_POLICY)
_OTHER_ORIGINS = 1_024
_MAX_ORIGIN_BYTES = 300
"""The longest Origin header, in bytes, that may be that of a page of this machine. A host name has 253 bytes at
most."""
_EXPOSED = b"ETag, X-As-Of-Slot, X-Request-Id, RateLimit, RateLimit-Policy, Retry-After"
_METHODS = b"GET, HEAD, POST, PUT, DELETE, OPTIONS"
_REQUEST_HEADERS = (
    b"Authorization, Content-Type, If-None-Match, X-Request-Id, X-Requested-With, "
    b"sentry-trace, baggage, traceparent, tracestate"  # what libraries add to every request of a page
)
_SUPABASE_METHODS = b", PATCH"
_SUPABASE_HEADERS = (
    b", apikey, X-Client-Info, Prefer, Accept-Profile, Content-Profile, X-Supabase-Api-Version, X-Retry-Count"
    b", Traceparent, Tracestate, Baggage"
)


class HeaderSet:
    """The headers of responses to one allowed origin, or to all origins that are not allowed. `without` has, by
    name, the headers of a response that has its own content or resource policy. `preflight`: additional headers of the
    answer to a CORS preflight."""

    def __init__(self, security: Headers, cors: Headers, preflight: Headers) -> None:
        self.headers = [*security, *cors]
        self.without = {own: [pair for pair in self.headers if pair[0] != own] for own in _REPLACEABLE}
        self.preflight = preflight


class HeaderSets:
    """Header sets by the value of the Origin header. With `any_loopback`, pages of this machine are allowed on any
    port. With `supabase_facade`, pages may send the methods and headers that Supabase's client sends."""

    def __init__(
        self,
        origins: Iterable[str],
        socket_origin: str,
        *,
        any_loopback: bool = False,
        supabase_facade: bool = False,
    ) -> None:
        self._security = [*security_headers(socket_origin), (b"vary", b"Origin")]
        self._preflight = _preflight_headers(supabase_facade=supabase_facade)
        self._unlisted = HeaderSet(self._security, [], [])
        self._listed = {origin.encode(): self._allowing(origin.encode()) for origin in origins}
        self._of_others = lru_cache(_OTHER_ORIGINS)(self._of_loopback) if any_loopback else None

    def of(self, origin: bytes | None) -> HeaderSet:
        """Return the header set for the value of an Origin header; `origin` is None if the request has none."""
        if origin is None:
            return self._unlisted
        if (listed := self._listed.get(origin)) is not None:
            return listed
        if self._of_others is None or len(origin) > _MAX_ORIGIN_BYTES:
            return self._unlisted
        return self._of_others(origin)

    def _of_loopback(self, origin: bytes) -> HeaderSet:
        return self._allowing(origin) if is_loopback_origin(origin.decode("latin-1")) else self._unlisted

    def _allowing(self, origin: bytes) -> HeaderSet:
        return HeaderSet(self._security, _cors_headers(origin), self._preflight)


def security_headers(socket_origin: str) -> Headers:
    """Return the security headers: those of Express's helmet, with a stricter content security policy. Scripts, styles
    and fonts load only from the gateway; images load from any HTTPS address; pages connect to the gateway and
    `socket_origin`."""
    policy = (
        "default-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; img-src 'self' data: https:; "
        f"script-src 'self'; style-src 'self'; font-src 'self'; connect-src 'self' {socket_origin}"
    ).strip()
    return [
        (_CONTENT_POLICY, policy.encode()),
        (b"strict-transport-security", b"max-age=31536000; includeSubDomains"),
        (b"x-content-type-options", b"nosniff"),
        (b"x-frame-options", b"SAMEORIGIN"),
        (b"referrer-policy", b"no-referrer"),
        (b"cross-origin-opener-policy", b"same-origin"),
        (_RESOURCE_POLICY, b"same-origin"),
        (b"origin-agent-cluster", b"?1"),
        (b"x-dns-prefetch-control", b"off"),
        (b"x-download-options", b"noopen"),
        (b"x-permitted-cross-domain-policies", b"none"),
        (b"x-xss-protection", b"0"),
    ]


def _preflight_headers(*, supabase_facade: bool) -> Headers:
    return [
        (b"access-control-allow-methods", _METHODS + (_SUPABASE_METHODS if supabase_facade else b"")),
        (b"access-control-allow-headers", _REQUEST_HEADERS + (_SUPABASE_HEADERS if supabase_facade else b"")),
        (b"access-control-max-age", b"600"),
    ]


def _cors_headers(origin: bytes) -> Headers:
    return [
        (b"access-control-allow-origin", origin),
        (b"access-control-allow-credentials", b"true"),
        (b"access-control-expose-headers", _EXPOSED),
    ]
