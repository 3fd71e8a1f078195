"""Build responses: amounts as text (`numeric=string`), ETag and 304, the slot of data that is derived from the
chain."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import cache
from typing import Any, Generic, TypeVar, get_args, get_type_hints

import msgspec
from litestar import Response
from litestar.response.base import ASGIResponse

from zmart.feed import shapes
from zmart.market.events import AnyEvent
from zmart.market.types import Lamports, Shares
from zmart.services.gateway.http.problems import GatewayRequest
from zmart.services.gateway.http.recent_changes import ResponseRows
from zmart.services.gateway.http.request_context import CacheableRead, request_context

CHAIN = "chain"
"""Route option: the response is derived from the chain, so it has an ETag and the slot of the index."""
REVALIDATE = b"public, max-age=0, must-revalidate"
_PRIVATE = "private, no-store"
_AMOUNTS = (Lamports, Shares, shapes.Units)

Shape = TypeVar("Shape")
Content = TypeVar("Content")


class Encoded(msgspec.Struct, Generic[Shape], frozen=True):
    """The JSON of a `Shape`, assembled from fragments. Its amounts are already in the form that the request chose.
    `rows` are the published rows in it; None if any commit may change it."""

    json: bytes
    rows: ResponseRows | None = None


def encoded_around(
    shape: type[Shape],
    rows: ResponseRows | None = None,
    **fields: Any,  # noqa: ANN401  # the shape's fields; a msgspec.Raw for each part that is encoded already
) -> Encoded[Shape]:
    """Encode `shape` with `fields`, some of which are encoded already (msgspec.Raw). Raises TypeError for a field that
    the shape does not have, or that is missing."""
    return Encoded(msgspec.json.encode(shape(**fields)), rows)


class ApiResponse(Response[Any], Generic[Shape]):
    """A response with the JSON of a `Shape`. Litestar wraps other return values of handlers in this class."""

    def to_asgi_response(self, app: Any, request: GatewayRequest, **options: Any) -> ASGIResponse:  # noqa: ANN401
        """Encode the response. A GET that is derived from the chain gets ETag, slot and caching headers, and is
        answered with 304 if the client has it already. All other responses get `Cache-Control: no-store` by default."""
        content, headers = self.content, self.headers
        route = request.scope.get("route_handler")
        if request.method == "GET" and route is not None and CHAIN in route.opt:
            return self._revalidated(request, headers)
        if isinstance(content, msgspec.Struct | list) and wants_text(request):
            self.content = with_text_amounts(content)
        headers.setdefault("Cache-Control", "no-store")
        return super().to_asgi_response(app, request, **options)

    def _revalidated(self, request: GatewayRequest, headers: dict[str, Any]) -> ASGIResponse:
        context = request_context(request.scope)
        body, etag = encode(self.content, as_text=context.amounts_as_text)
        context.is_cacheable_response = not context.is_private
        headers["ETag"] = etag.decode()
        headers["X-As-Of-Slot"] = str(context.as_of_slot)
        headers["Cache-Control"] = _PRIVATE if context.is_private else REVALIDATE.decode()
        if is_known_to(context.headers.get(b"if-none-match"), etag):
            return ASGIResponse(status_code=304, headers=headers)
        return ASGIResponse(body=body, status_code=200, headers=headers, media_type="application/json")


def encode(content: object, *, as_text: bool = False) -> tuple[bytes, bytes]:
    """Return the JSON of `content` and its ETag. `as_text`: amounts are text, unless `content` is encoded already."""
    if isinstance(content, Encoded):
        body: bytes = content.json
    else:
        body = msgspec.json.encode(with_text_amounts(content) if as_text else content)
    return body, b'"%b"' % hashlib.sha256(body, usedforsecurity=False).hexdigest()[:24].encode()


def is_known_to(if_none_match: bytes | None, etag: bytes) -> bool:
    """Return whether the value of an If-None-Match header names `etag`, or any with `*`; None: there is no such
    header."""
    if not if_none_match:
        return False
    if if_none_match.strip() == b"*":
        return True
    return etag in (part.strip().removeprefix(b"W/") for part in if_none_match.split(b","))


def cacheable(
    request: GatewayRequest,
    read: Callable[[], Awaitable[Content]],
    *,
    max_age_s: float | Callable[[], float] = 1.0,
) -> Awaitable[Content]:
    """Return `read()`, and let the response cache call `read` again for the same path and query
    (http/response_cache.py).

    What `read` returns may depend only on path and query, on published tables, and on data that may be `max_age_s`
    seconds old, such as documents that are fetched later, the program's rules, or windows that end now.
    """
    request_context(request.scope).cacheable = CacheableRead(read, max_age_s)
    return read()


def wants_text(request: GatewayRequest) -> bool:
    """Return whether the client requested amounts as text (`numeric=string`)."""
    return request_context(request.scope).amounts_as_text


def with_text_amounts(value: object) -> object:
    """Return the value as plain JSON types, with every amount of lamports or shares as text."""
    if isinstance(value, msgspec.Struct):
        marked = _marked(type(value))
        return {
            encoded_name: str(item) if name in marked and isinstance(item, int) else with_text_amounts(item)
            for name, encoded_name, item in _items(value)
        }
    if isinstance(value, Mapping):
        named = _amounts_by_name()
        return {
            key: str(item) if key in named and isinstance(item, int) else with_text_amounts(item)
            for key, item in value.items()
        }
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [with_text_amounts(item) for item in value]
    return value


def _items(value: msgspec.Struct) -> list[tuple[str, str, object]]:
    names = zip(value.__struct_fields__, value.__struct_encode_fields__, strict=True)
    items = ((name, encoded_name, getattr(value, name)) for name, encoded_name in names)
    return [item for item in items if item[2] is not msgspec.UNSET]


@cache
def _marked(kind: type[msgspec.Struct]) -> frozenset[str]:
    """Return the fields of a struct that hold lamports or shares."""
    hints = get_type_hints(kind, include_extras=True)
    return frozenset(name for name, hint in hints.items() if _is_amount(hint))


@cache
def _amounts_by_name() -> frozenset[str]:
    """Return the names of the fields with amounts in events and messages, which responses contain as plain objects."""
    kinds = [
        *get_args(AnyEvent),
        shapes.MarketData,
        shapes.MarketSnapshotData,
        shapes.MarketChange,
        shapes.TradeData,
    ]
    return frozenset(
        encoded_name
        for kind in kinds
        for name, encoded_name in zip(kind.__struct_fields__, kind.__struct_encode_fields__, strict=True)
        if name in _marked(kind)
    )


def _is_amount(hint: object) -> bool:
    return hint in _AMOUNTS or any(arg in _AMOUNTS for arg in get_args(hint))
