"""Answer repeated GETs without the router: from the cache while no commit has changed the content, else by reading it
again.

Signed, private or personal responses are never cached. A request that cannot be answered here is passed to the router,
which also reports its error.
"""

from __future__ import annotations

import asyncio
from time import perf_counter

from zmart.errors import NotFound
from zmart.feed.tasks import retrieve
from zmart.market.types import Slot
from zmart.services.client_addresses import ClientAddresses
from zmart.services.contract import AsgiApp, Receive, Scope, Send
from zmart.services.gateway import metrics
from zmart.services.gateway.http.cached_responses import CachedResponse, CachedRoute, CachedRoutes
from zmart.services.gateway.http.cached_value import CachedValue
from zmart.services.gateway.http.feed_position import FeedPositionReader
from zmart.services.gateway.http.rate_limiter import RateLimiter
from zmart.services.gateway.http.rate_limits import (
    RateLimitPolicy,
    RateLimitVerdict,
    limit_header,
    policy_header,
)
from zmart.services.gateway.http.recent_changes import FeedAt
from zmart.services.gateway.http.request_context import RequestContext, request_context
from zmart.services.gateway.http.responses import REVALIDATE, Encoded, encode, is_known_to

_MAX_QUERY_BYTES = 300
_ROUTES_ALONE_BYTES = 8 << 20


class ResponseCache:
    """An ASGI application around the router that answers repeated GETs. With `max_bytes` 0 no response is cached: each
    is read again, without the router."""

    def __init__(
        self,
        app: AsgiApp,
        feed_positions: FeedPositionReader,
        as_of_slot: CachedValue[Slot],
        limiter: RateLimiter,
        policy: RateLimitPolicy,
        clients: ClientAddresses,
        max_bytes: int,
        read_within_s: float,
    ) -> None:
        self._app = app
        self._feed_positions = feed_positions
        self._as_of_slot = as_of_slot
        self._limiter = limiter
        self._policy = policy
        self._policy_header = b"ratelimit-policy", policy_header(policy)
        self._clients = clients
        self._keeps_responses = max_bytes > 0
        self._read_within_s = read_within_s
        self.routes = CachedRoutes(max_bytes or _ROUTES_ALONE_BYTES)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request from the cache, or pass it to the router and learn how to read its response again."""
        request = request_context(scope)
        if not _is_plain(scope, request):
            await self._app(scope, receive, send)
            return
        route = self.routes.get((scope["path"], scope["query_string"]))
        if route is None:
            await self._app(scope, receive, send)
            self._learn(scope, request)
        elif not await self._respond(route, scope, request, send):
            await self._app(scope, receive, send)

    async def _respond(self, route: CachedRoute, scope: Scope, request: RequestContext, send: Send) -> bool:
        """Send the response of a known route. Returns False, having sent nothing, if the router has to answer."""
        try:
            key = self._clients.of_scope(scope)
            verdict = self._limiter.at_once(self._policy, key) or await self._begin(key, request)
            request.policy, request.rate_limit = self._policy, verdict
            if not verdict.allowed:
                return False
            read = self._cached if self._keeps_responses else self._read
            response, slot = await read(route, request)
        except Exception:
            return False
        scope["path_template"] = route.path_template
        headers = [
            *response.headers,
            (b"x-as-of-slot", b"%d" % slot),
            (b"ratelimit", limit_header(self._policy, verdict)),
        ]
        if is_known_to(request.headers.get(b"if-none-match"), response.etag):
            await send({"type": "http.response.start", "status": 304, "headers": headers[1:]})
            await send({"type": "http.response.body", "body": b""})
        else:
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": response.body})
        return True

    def _learn(self, scope: Scope, request: RequestContext) -> None:
        """Remember how to read the response again that the router has just sent, if it may be cached."""
        if request.cacheable is None or not request.is_cacheable_response:
            return
        address = scope["path"], scope["query_string"]
        if len(address[1]) <= _MAX_QUERY_BYTES:
            template, as_text = str(scope["path_template"]), request.amounts_as_text
            self.routes.add(CachedRoute(address, template, request.cacheable, amounts_as_text=as_text))
            metrics.CACHE.size_bytes = self.routes.size_bytes

    def _time_left(self, request: RequestContext) -> asyncio.Timeout:
        """Return a timeout for what is left of the request's time. It is not needed for a cached response: nothing is
        awaited then but the feed's position, which has a limit of its own."""
        return asyncio.timeout(self._read_within_s - (perf_counter() - request.began_s))

    async def _begin(self, key: str, request: RequestContext) -> RateLimitVerdict:
        """Count the request if the limiter cannot decide at once; wait for its verdict within the time that is left."""
        async with self._time_left(request):
            return await self._limiter.begin(self._policy, key)

    async def _read(self, route: CachedRoute, request: RequestContext) -> tuple[CachedResponse, int]:
        """Return a response that is read now, and the slot through which the index is complete."""
        metrics.CACHE.misses += 1
        async with self._time_left(request):
            slot = await self._as_of_slot.get()
            return await self._fresh(route), slot

    async def _cached(self, route: CachedRoute, request: RequestContext) -> tuple[CachedResponse, int]:
        """Return the cached response if no commit has changed its rows, else one that is read now; and the slot through
        which the index is complete."""
        position = await self._feed_positions.position()
        response = route.valid_response(position.at, self._feed_positions.changes)
        if response is not None:
            route.was_used = True
            metrics.CACHE.hits += 1
        else:
            metrics.CACHE.misses += 1
            async with self._time_left(request):
                response = await self._renewed(route, position.at)
        return response, position.slot

    async def _renewed(self, route: CachedRoute, feed_at: FeedAt) -> CachedResponse:
        """Return a response as of the feed's position `feed_at`, read once for all requests that wait for it."""
        if route.reading is None or route.reading_at != feed_at:
            route.reading_at = feed_at
            route.reading = asyncio.create_task(self._read_and_keep(route, feed_at))
            route.reading.add_done_callback(retrieve)
        return await asyncio.shield(route.reading)

    async def _read_and_keep(self, route: CachedRoute, feed_at: FeedAt) -> CachedResponse:
        try:
            max_age_s = route.cacheable.max_age_s
            until_s = perf_counter() + (max_age_s() if callable(max_age_s) else max_age_s)
            async with asyncio.timeout(self._read_within_s):
                response = await self._fresh(route)
            self.routes.keep(route, response, feed_at, until_s)
            metrics.CACHE.size_bytes = self.routes.size_bytes
            return response
        finally:
            if route.reading_at == feed_at:
                route.reading = None

    async def _fresh(self, route: CachedRoute) -> CachedResponse:
        """Read and encode the response of a route. Raises NotFound if the resource no longer exists: the router then
        answers with that error."""
        content = await route.cacheable.read()
        if content is None:
            raise NotFound("The resource is gone.")
        body, etag = encode(content, as_text=route.amounts_as_text)
        headers = [
            (b"content-length", b"%d" % len(body)),  # the first: a 304 omits it
            (b"content-type", b"application/json"),
            (b"cache-control", REVALIDATE),
            (b"etag", etag),
            self._policy_header,
        ]
        return CachedResponse(body, etag, headers, content.rows if isinstance(content, Encoded) else None)


def _is_plain(scope: Scope, request: RequestContext) -> bool:
    """Return whether this is a GET without authorization and without a repeated header. All other requests are left to
    the router."""
    headers = request.headers
    is_get = scope["type"] == "http" and scope["method"] == "GET"
    return is_get and b"authorization" not in headers and len(headers) == len(scope["headers"])
