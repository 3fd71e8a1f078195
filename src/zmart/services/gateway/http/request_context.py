"""What the parts of the gateway tell each other about one request."""

from __future__ import annotations

import itertools
import re
import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

from zmart.services.contract import Scope
from zmart.services.gateway.http.rate_limits import RateLimitVerdict

if TYPE_CHECKING:
    from zmart.services.gateway.http.auth.authenticator import Principal

_STATE_KEY = "zmart.request"
_PROCESS_ID, _numbers = secrets.token_hex(6), itertools.count(secrets.randbits(32))
_VALID_ID = re.compile(rb"[A-Za-z0-9._:-]{1,64}")


@dataclass(slots=True, frozen=True)
class CacheableRead:
    """How a response is read again; it depends on nothing but the request's path and query, on what commits publish,
    and on what may be `max_age_s` old."""

    read: Callable[[], Awaitable[object]]
    max_age_s: float | Callable[[], float]


@dataclass(slots=True)
class RequestContext:
    """Made by the edge for each request, kept in the ASGI scope's `state`. `began_s` is of time.perf_counter."""

    request_id: str
    headers: Mapping[bytes, bytes]
    """By name; of a header that came more than once the last."""
    began_s: float
    body: bytes = b""
    principal: Principal | None = None
    as_of_slot: int = 0
    amounts_as_text: bool = False
    is_private: bool = False
    """The response depends on who asks."""
    rate_limit: RateLimitVerdict | None = field(default=None)
    """Set once the request has been counted."""
    cacheable: CacheableRead | None = None
    is_cacheable_response: bool = False
    """The response was a good one that everybody gets."""


def request_context(scope: object) -> RequestContext:
    """The context of the request that an ASGI scope describes."""
    return cast("RequestContext", cast("Scope", scope)["state"][_STATE_KEY])


def enter(scope: Scope, context: RequestContext) -> None:
    """Put the context into the scope."""
    scope.setdefault("state", {})[_STATE_KEY] = context


def request_id_of(given: bytes | None) -> str:
    """The client's own id if it is a valid one, else a new one."""
    if given is not None and _VALID_ID.fullmatch(given):
        return given.decode()
    return f"{_PROCESS_ID}{next(_numbers):012x}"
