"""Answers: `numeric=string`, ETag and 304, the slot that chain-derived data stands for. One place for all routes."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import cache
from typing import Any, TypeVar, cast, get_args, get_type_hints

import msgspec
from litestar import Response
from litestar.response.base import ASGIResponse

from zmart.feed import shapes
from zmart.market.events import AnyEvent
from zmart.market.types import Lamports, Shares
from zmart.services.gateway.http.problems import GatewayRequest

CHAIN = "chain"
"""Route option: the answer is derived from the chain."""
PRIVATE = "private"
"""Scope state: this answer depends on who asks."""
AS_OF = "as_of_slot"
AGAIN = "again"
"""Scope state: reads the same answer again (see hot.py)."""
SHARED = "shared"
"""Scope state: the answer was a good one that everybody gets."""
TEXT = "numeric_string"
REVALIDATE = b"public, max-age=0, must-revalidate"
_PRIVATE = "private, no-store"
_BIG_NUMBERS = (Lamports, Shares, shapes.Units)
Content = TypeVar("Content")


class ApiResponse(Response[Any]):
    """What a handler returns becomes this; content that is a struct is encoded by msgspec."""

    def to_asgi_response(self, app: Any, request: GatewayRequest, **options: Any) -> ASGIResponse:  # noqa: ANN401
        content, headers = self.content, self.headers
        if isinstance(content, msgspec.Struct | list) and wants_text(request):
            self.content = with_text_numbers(content)
        route = request.scope.get("route_handler")
        if request.method == "GET" and route is not None and CHAIN in route.opt:
            return self._revalidated(request, headers, options)
        headers.setdefault("Cache-Control", "no-store")
        return super().to_asgi_response(app, request, **options)

    def _revalidated(
        self, request: GatewayRequest, headers: dict[str, Any], options: dict[str, Any]
    ) -> ASGIResponse:
        body, tag = packed(self.content)
        state = cast("dict[str, object]", request.scope)
        state[SHARED] = not state.get(PRIVATE)
        headers["ETag"] = tag.decode()
        headers["X-As-Of-Slot"] = str(state.get(AS_OF, 0))
        headers["Cache-Control"] = REVALIDATE.decode() if state[SHARED] else _PRIVATE
        given = request.headers.get("if-none-match")
        if is_known_to(None if given is None else given.encode("latin-1"), tag):
            return ASGIResponse(status_code=304, headers=headers)
        return ASGIResponse(body=body, status_code=200, headers=headers, media_type="application/json")


def packed(content: object, *, text: bool = False) -> tuple[bytes, bytes]:
    """The JSON and its ETag; with `text` every amount as text."""
    body = msgspec.json.encode(with_text_numbers(content) if text else content)
    return body, b'"%b"' % hashlib.sha256(body, usedforsecurity=False).hexdigest()[:24].encode()


def is_known_to(given: bytes | None, tag: bytes) -> bool:
    """Whether If-None-Match names the tag."""
    if not given:
        return False
    return given.strip() == b"*" or tag in (part.strip().removeprefix(b"W/") for part in given.split(b","))


def a_second() -> float:
    """How long an answer holds without a commit that tells otherwise, if it also depends on what no commit tells of:
    documents that come late, the program's rules, windows that end now."""
    return 1.0


def a_while() -> float:
    """The same of one that depends on published tables alone."""
    return 10.0


def again(
    request: GatewayRequest,
    read: Callable[[], Awaitable[Content]],
    holds_s: Callable[[], float] = a_second,
) -> Awaitable[Content]:
    """Begin `read`, and let it answer the same address from now on: it may depend on nothing but the address, what
    commits tell of, and what may be `holds_s()` old."""
    cast("dict[str, object]", request.scope)[AGAIN] = read, holds_s
    return read()


def wants_text(request: GatewayRequest) -> bool:
    """Whether the caller asked for amounts as text (`numeric=string`)."""
    return bool(cast("dict[str, object]", request.scope).get(TEXT))


def with_text_numbers(value: object) -> object:
    """The value as plain JSON types, with every amount of lamports or shares as text."""
    if isinstance(value, msgspec.Struct):
        marked = _marked(type(value))
        return {
            wire: str(item) if name in marked and isinstance(item, int) else with_text_numbers(item)
            for name, wire, item in _items(value)
        }
    if isinstance(value, Mapping):
        named = _amounts_by_name()
        return {
            key: str(item) if key in named and isinstance(item, int) else with_text_numbers(item)
            for key, item in value.items()
        }
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [with_text_numbers(item) for item in value]
    return value


def _items(value: msgspec.Struct) -> list[tuple[str, str, object]]:
    names = zip(value.__struct_fields__, value.__struct_encode_fields__, strict=True)
    items = ((name, wire, getattr(value, name)) for name, wire in names)
    return [item for item in items if item[2] is not msgspec.UNSET]


@cache
def _marked(kind: type[msgspec.Struct]) -> frozenset[str]:
    """The fields of a struct that hold lamports or shares."""
    hints = get_type_hints(kind, include_extras=True)
    return frozenset(name for name, hint in hints.items() if _is_amount(hint))


@cache
def _amounts_by_name() -> frozenset[str]:
    """What holds an amount in events and messages, which travel as plain objects."""
    kinds = [
        *get_args(AnyEvent),
        shapes.MarketData,
        shapes.MarketSnapshotData,
        shapes.MarketChange,
        shapes.TradeData,
    ]
    return frozenset(
        wire
        for kind in kinds
        for name, wire in zip(kind.__struct_fields__, kind.__struct_encode_fields__, strict=True)
        if name in _marked(kind)
    )


def _is_amount(hint: object) -> bool:
    return hint in _BIG_NUMBERS or any(arg in _BIG_NUMBERS for arg in get_args(hint))
