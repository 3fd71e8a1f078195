"""The response headers of an origin are prepared once, and the number of prepared sets is bounded."""

from __future__ import annotations

import pytest

from zmart.services.gateway.http.header_sets import HeaderSets


@pytest.fixture
def sets() -> HeaderSets:
    return HeaderSets(["https://zmart.example"], "wss://socket.example", any_loopback=True)


@pytest.mark.parametrize(
    "origin", [None, b"https://zmart.example", b"http://localhost:5173", b"https://other.example"]
)
def test_the_headers_of_an_origin_are_made_once(sets: HeaderSets, origin: bytes | None) -> None:
    assert sets.of(origin) is sets.of(origin)


def test_a_page_of_this_machine_is_allowed_by_its_own_name(sets: HeaderSets) -> None:
    for port in range(3_000, 6_000):
        origin = b"http://localhost:%d" % port
        assert (b"access-control-allow-origin", origin) in sets.of(origin).headers


def test_many_origins_take_no_more_memory_than_some(sets: HeaderSets) -> None:
    first = sets.of(b"http://localhost:1")
    for port in range(2, 5_000):
        sets.of(b"http://localhost:%d" % port)
    assert sets.of(b"http://localhost:1") is not first  # the first set was evicted


def test_an_origin_longer_than_any_host_name_is_not_allowed(sets: HeaderSets) -> None:
    origin = b"http://localhost:5173" + b"0" * 400
    assert sets.of(origin) is sets.of(b"https://other.example")
