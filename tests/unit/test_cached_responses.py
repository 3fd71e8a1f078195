"""The response cache's memory: the size that it reports is not less than its real size, and stays within its bound."""

from __future__ import annotations

import gc
import tracemalloc
from functools import partial

from hypothesis import given
from hypothesis import strategies as st

from kit.wallets import market_id
from zmart.services.gateway.http.cached_responses import CachedResponse, CachedRoute, CachedRoutes
from zmart.services.gateway.http.recent_changes import RecentChanges, ResponseRows
from zmart.services.gateway.http.request_context import CacheableRead
from zmart.store.change_feed import ChangedMarkets
from zmart.store.markets import Filters, Sort

AT = ("epoch", 7)


async def _page(filters: Filters, sort: Sort, limit: int, offset: int) -> None: ...


def route(number: int) -> CachedRoute:
    """Return a cached route as a handler makes it, with a read that is bound to the request's parameters."""
    read = partial(
        _page, Filters(state=None, category=None, creator=None, q=f"q{number}"), Sort.NEWEST, 20, number
    )
    address = (f"/api/markets/{number:064x}", b"offset=%d&limit=20" % number)
    return CachedRoute(address, "/api/markets/{key}", CacheableRead(read, 1.0), amounts_as_text=False)


def response(number: int, body_bytes: int) -> CachedResponse:
    body, etag = b"%d" % number + b"x" * body_bytes, b'"%024x"' % number
    headers = [
        (b"content-length", b"%d" % len(body)),
        (b"content-type", b"application/json"),
        (b"etag", etag),
    ]
    return CachedResponse(body, etag, headers)


def test_what_is_held_is_counted() -> None:
    routes = CachedRoutes(1 << 30)
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for number in range(3_000):
        held = route(number)
        routes.add(held)
        routes.keep(held, response(number, 1_000), AT, 1e9)
    held_bytes = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert held_bytes <= routes.size_bytes <= 2.5 * held_bytes


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 20_000), st.booleans()), max_size=200))
def test_the_bound_holds_after_every_step(steps: list[tuple[int, int, bool]]) -> None:
    """A7: after every added route or response, the cache's size is at most its bound, and the sum of its parts."""
    routes = CachedRoutes(100_000)
    for number, body_bytes, is_used in steps:
        made = route(number)
        routes.add(made)
        known = routes.get(made.address)
        if known is not None:
            routes.keep(known, response(number, body_bytes), AT, 1e9)
            known.was_used = is_used
        assert routes.size_bytes <= 100_000
        assert routes.size_bytes == sum(each.size_bytes for each in routes)


def test_what_is_used_stays() -> None:
    routes = CachedRoutes(40_000)
    expected = route(0)
    routes.add(expected)
    for number in range(1, 200):
        expected.was_used = True
        routes.add(route(number))
    assert routes.get(expected.address) is expected
    assert routes.get(route(1).address) is None


def test_a_response_is_valid_at_one_position_and_for_its_time() -> None:
    held, routes = route(1), CachedRoutes(1 << 20)
    routes.add(held)
    routes.keep(held, response(1, 10), AT, 1e12)
    assert held.valid_response(AT, RecentChanges()) is held.response
    assert held.valid_response(("epoch", 8), RecentChanges()) is None
    assert held.valid_response(("another", 7), RecentChanges()) is None
    routes.keep(held, response(1, 10), AT, 0.0)
    assert held.valid_response(AT, RecentChanges()) is None


def test_a_response_that_comes_after_its_route_was_evicted_is_not_kept() -> None:
    late, routes = route(1), CachedRoutes(1 << 20)
    routes.keep(late, response(1, 10), AT, 1e9)
    assert routes.size_bytes == 0
    assert late.response is None


@given(
    st.lists(st.tuples(st.sets(st.integers(1, 5), max_size=3), st.booleans(), st.booleans()), max_size=30),
    st.sets(st.integers(1, 5), max_size=3),
    st.booleans(),
)
def test_a_response_is_touched_by_every_later_change_of_what_it_shows(
    commits: list[tuple[set[int], bool, bool]], shown: set[int], of_market_list: bool
) -> None:
    """A change that the bounded memory of changes has dropped counts as a change of every response."""
    changes, rows = RecentChanges(max_markets=4), ResponseRows(tuple(map(market_id, shown)), of_market_list)
    changes.add(("e", 1), None)
    changed = False
    for head, (numbers, is_list, known) in enumerate(commits, start=2):
        names = [market_id(number) for number in numbers]
        changes.add(("e", head), ChangedMarkets(names, is_list) if known else None)
        changed = changed or not known or bool(numbers & shown) or (is_list and of_market_list)
        assert changes.touched(rows, ("e", 1)) or not changed
    assert not changes.touched(rows, changes.at)
    assert changes.touched(rows, ("another", changes.at[1]))
