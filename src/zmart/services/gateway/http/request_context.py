"""Hold what the layers of the gateway share about one request."""

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
    """How to read a response again. What `read` returns depends only on path and query of the request, on published
    tables, and on data that may be `max_age_s` seconds old."""

    read: Callable[[], Awaitable[object]]
    max_age_s: float | Callable[[], float]


@dataclass(slots=True)
class RequestContext:
    """The context of one request, kept in the ASGI scope's `state`. `began_s` is the arrival of the request, by
    time.perf_counter."""

    request_id: str
    headers: Mapping[bytes, bytes]
    """The request's headers: values by lower-case name. Of a repeated header the last value."""
    began_s: float
    client: str = ""
    """The network address by which limits count the request; set by the request guard."""
    body: bytes = b""
    principal: Principal | None = None
    as_of_slot: int = 0
    amounts_as_text: bool = False
    is_private: bool = False
    """Whether the response depends on the sender."""
    wallet_policy: RateLimitPolicy | None = None
    """The policy under which the sender's wallet is counted, in addition to the address, once its proof is found valid;
    None if no wallet is to be counted."""
    policy: RateLimitPolicy | None = None
    rate_limit: RateLimitVerdict | None = None
    """The verdict of `policy`, by which the request was counted last; both are None before that."""
    cacheable: CacheableRead | None = None
    is_cacheable_response: bool = False
    """Whether the response was successful and is the same for all senders."""


def request_context(scope: object) -> RequestContext:
    """Return the RequestContext that `enter` put into the ASGI scope of a request."""
    return cast("RequestContext", cast("Scope", scope)["state"][_STATE_KEY])


def enter(scope: Scope, context: RequestContext) -> None:
    """Put the RequestContext of a request into its ASGI scope."""
    scope.setdefault("state", {})[_STATE_KEY] = context
