"""Hold cached responses, each with the function that reads it again. The memory of all is bounded in bytes."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from sys import getsizeof
from time import perf_counter

from zmart.services.gateway.http.header_sets import Headers
from zmart.services.gateway.http.recent_changes import FeedAt, RecentChanges, ResponseRows
from zmart.services.gateway.http.request_context import CacheableRead

Address = tuple[str, bytes]
"""Path and query of a GET."""
_ROUTE_BYTES = 2_600
"""The memory that a route takes besides its address, in bytes, as measured: its objects, and the read of its
handler."""
_RESPONSE_BYTES = 1_400
"""The memory that a response takes besides its body, in bytes, as measured: prepared headers and their values."""
_MARKET_BYTES = 8 + 113
"""The memory that each market in a response takes, in bytes: a reference and the id."""


class CachedResponse:
    """A cached response. `headers` are those that every response with this body has. `rows` are the published rows in
    it; None if any commit may change it."""

    __slots__ = ("body", "etag", "headers", "rows")

    def __init__(self, body: bytes, etag: bytes, headers: Headers, rows: ResponseRows | None = None) -> None:
        self.body = body
        self.etag = etag
        self.headers = headers
        self.rows = rows


class CachedRoute:
    """An address whose response can be read without the router. `response` is valid at the feed's position `feed_at`,
    and later until a commit changes its rows, but not after `valid_until_s` (of time.perf_counter)."""

    __slots__ = (
        "address",
        "amounts_as_text",
        "cacheable",
        "feed_at",
        "path_template",
        "reading",
        "reading_at",
        "response",
        "valid_until_s",
        "was_used",
    )  # fmt: skip

    def __init__(
        self, address: Address, path_template: str, cacheable: CacheableRead, *, amounts_as_text: bool
    ) -> None:
        self.address = address
        self.path_template = path_template
        self.cacheable = cacheable
        self.amounts_as_text = amounts_as_text
        self.response: CachedResponse | None = None
        self.feed_at: FeedAt | None = None
        self.valid_until_s = 0.0
        self.reading: asyncio.Task[CachedResponse] | None = None
        self.reading_at: FeedAt | None = None
        self.was_used = False

    def valid_response(self, feed_at: FeedAt, changes: RecentChanges) -> CachedResponse | None:
        """Return the cached response if it is valid at the feed's position `feed_at`, else None. `changes` must reach
        that position or a later one."""
        response = self.response
        if response is None or perf_counter() >= self.valid_until_s:
            return None
        if self.feed_at != feed_at:
            if response.rows is None or self.feed_at is None or changes.touched(response.rows, self.feed_at):
                return None
            self.feed_at = feed_at
        return response

    @property
    def size_bytes(self) -> int:
        """Return the memory that the route and its response take, in bytes."""
        path, query = self.address
        size = _ROUTE_BYTES + getsizeof(path) + getsizeof(query)
        response = self.response
        if response is None:
            return size
        markets = len(response.rows.market_ids) if response.rows is not None else 0
        return size + _RESPONSE_BYTES + getsizeof(response.body) + markets * _MARKET_BYTES


class CachedRoutes:
    """Hold cached routes by address. Beyond `max_bytes` the oldest routes are evicted; one that was used is kept once
    more, and counts as the newest from then on."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._routes: dict[Address, CachedRoute] = {}
        self.get = self._routes.get
        self.size_bytes = 0

    def __len__(self) -> int:
        return len(self._routes)

    def __iter__(self) -> Iterator[CachedRoute]:
        return iter(self._routes.values())

    def add(self, route: CachedRoute) -> None:
        """Add a route, unless there is one for its address."""
        if route.address not in self._routes:
            self._routes[route.address] = route
            self.size_bytes += route.size_bytes
            self._evict()

    def keep(self, route: CachedRoute, response: CachedResponse, feed_at: FeedAt, until_s: float) -> None:
        """Store the response of a route as valid at `feed_at` and until `until_s` (of time.perf_counter), unless the
        route was evicted meanwhile."""
        if self._routes.get(route.address) is not route:
            return
        self.size_bytes -= route.size_bytes
        route.response, route.feed_at, route.valid_until_s = response, feed_at, until_s
        self.size_bytes += route.size_bytes
        self._evict()

    def _evict(self) -> None:
        while self.size_bytes > self._max_bytes:
            address = next(iter(self._routes))
            route = self._routes.pop(address)
            if route.was_used:
                route.was_used = False
                self._routes[address] = route
            else:
                self.size_bytes -= route.size_bytes
