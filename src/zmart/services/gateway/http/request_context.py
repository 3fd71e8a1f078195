"""Hold what the parts of the gateway share about one request."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import cast

from zmart.services.contract import Scope
from zmart.services.gateway.http.auth.authenticator import Principal
from zmart.services.gateway.http.rate_limits import RateLimitPolicy, RateLimitVerdict

_STATE_KEY = "zmart.request"


@dataclass(slots=True, frozen=True)
class CacheableRead:
    """How to read a response again. It depends only on path and query of the request, on published tables, and on data
    that may be `max_age_s` old."""

    read: Callable[[], Awaitable[object]]
    max_age_s: float | Callable[[], float]


@dataclass(slots=True)
class RequestContext:
    """The context of one request, in the ASGI scope's `state`. `began_s` is of time.perf_counter."""

    request_id: str
    headers: Mapping[bytes, bytes]
    """Values of headers by name; the last one of a repeated header."""
    began_s: float
    client: str = ""
    """The sender's address as limits count it; set by the request guard."""
    body: bytes = b""
    principal: Principal | None = None
    as_of_slot: int = 0
    amounts_as_text: bool = False
    is_private: bool = False
    """The response depends on the sender."""
    wallet_policy: RateLimitPolicy | None = None
    """The policy that counts the wallet in addition, once its proof has held."""
    policy: RateLimitPolicy | None = None
    rate_limit: RateLimitVerdict | None = None
    """The policy that counted the request last, and its verdict."""
    cacheable: CacheableRead | None = None
    is_cacheable_response: bool = False
    """The response was successful and is the same for all senders."""


def request_context(scope: object) -> RequestContext:
    """Return the context of the request of an ASGI scope."""
    return cast("RequestContext", cast("Scope", scope)["state"][_STATE_KEY])


def enter(scope: Scope, context: RequestContext) -> None:
    """Put the context into the scope."""
    scope.setdefault("state", {})[_STATE_KEY] = context
