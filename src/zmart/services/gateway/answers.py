"""Answers: `numeric=string`, ETag and 304, the slot that chain-derived data stands for. One place for all routes."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, get_args, get_type_hints

import msgspec
from litestar import Response
from litestar.response.base import ASGIResponse

from zmart.market.types import Lamports, Shares
from zmart.services.gateway.problems import GatewayRequest

CHAIN = "chain"
"""Route option: the answer is derived from the chain."""
PRIVATE = "private"
"""Scope state: this answer depends on who asks."""
AS_OF = "as_of_slot"
_REVALIDATE = "public, max-age=0, must-revalidate"
_PRIVATE = "private, no-store"
_BIG_NUMBERS = (Lamports, Shares)


class Answer(Response[Any]):
    """What a handler returns becomes this; content that is a struct is encoded by msgspec."""

    def to_asgi_response(self, app: Any, request: GatewayRequest, **options: Any) -> ASGIResponse:  # noqa: ANN401
        content, headers = self.content, self.headers
        if isinstance(content, msgspec.Struct | list) and request.scope.get("numeric_string"):
            self.content = with_text_numbers(content)
        route = request.scope.get("route_handler")
        if request.method == "GET" and route is not None and CHAIN in route.opt:
            return self._revalidated(request, headers, options)
        headers.setdefault("Cache-Control", "no-store")
        return super().to_asgi_response(app, request, **options)

    def _revalidated(
        self, request: GatewayRequest, headers: dict[str, Any], options: dict[str, Any]
    ) -> ASGIResponse:
        body = msgspec.json.encode(self.content)
        tag = f'"{hashlib.blake2b(body, digest_size=12).hexdigest()}"'
        headers["ETag"] = tag
        headers["X-As-Of-Slot"] = str(request.scope.get(AS_OF, 0))
        headers["Cache-Control"] = _PRIVATE if request.scope.get(PRIVATE) else _REVALIDATE
        if _matches(request.headers.get("if-none-match"), tag):
            return ASGIResponse(status_code=304, headers=headers)
        return ASGIResponse(body=body, status_code=200, headers=headers, media_type="application/json")


def _matches(given: str | None, tag: str) -> bool:
    if not given:
        return False
    return given.strip() == "*" or tag in (part.strip().removeprefix("W/") for part in given.split(","))


def with_text_numbers(value: object) -> object:
    """The value as plain JSON types, with every amount of lamports or shares as text."""
    if isinstance(value, msgspec.Struct):
        marked = _marked(type(value))
        return {
            wire: str(item) if name in marked and isinstance(item, int) else with_text_numbers(item)
            for name, wire, item in _items(value)
        }
    if isinstance(value, Mapping):
        return {key: with_text_numbers(item) for key, item in value.items()}
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


def _is_amount(hint: object) -> bool:
    return hint in _BIG_NUMBERS or any(arg in _BIG_NUMBERS for arg in get_args(hint))
