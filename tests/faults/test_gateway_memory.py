"""The gateway's memory does not grow with the number of different addresses that clients request."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from urllib.parse import urlsplit

import httpx
import pytest

from kit.gateway import add_market
from kit.gateway_server import server
from kit.raw_client import RawClient, connected
from zmart.store.pool import Pool

MIB = 1 << 20
_TOGETHER = 8
_MARKETS = 170
_PAGES = 150


async def ask(port: int, numbers: Iterator[int]) -> None:
    """Request every address twice: the router answers the first time; the second time, the cache keeps the response."""

    async def client_of() -> None:
        async with connected(port) as client:
            for number in numbers:
                for _ in range(2):
                    await _get(client, number)

    await asyncio.gather(*(client_of() for _ in range(_TOGETHER)))


async def _get(client: RawClient, number: int) -> None:
    """Request an address until it is answered: on a busy machine a request may take longer than the gateway allows."""
    for _ in range(20):
        status, _, _ = await client.get(f"/api/markets?limit=20&offset={number % _PAGES}&n={number}")
        if status != 503:
            break
    assert status == 200


async def grown_bytes(database_url: str, redis_url: str, addresses: int, **environment: str) -> int:
    """Return by how many bytes a gateway grows with that many more addresses, after the first 200."""
    pool = await Pool.open(database_url, size=1)
    for number in range(_MARKETS):
        await add_market(pool, number)
    await pool.close()
    with server(database_url, redis_url, **environment) as url:
        port = urlsplit(url).port
        assert port is not None
        await ask(port, iter(range(200)))
        started = resident_bytes(url)
        await ask(port, iter(range(200, 200 + addresses)))
        return resident_bytes(url) - started


def resident_bytes(url: str) -> int:
    lines = httpx.get(f"{url}/metrics").text.splitlines()
    [value] = [line.split()[1] for line in lines if line.startswith("process_resident_memory_bytes ")]
    return int(float(value))


async def test_the_cache_s_bytes_bound_what_many_addresses_take(database_url: str, redis_url: str) -> None:
    """A7: the keys of cached responses count towards the cache's limit in bytes, too."""
    grown = await grown_bytes(database_url, redis_url, 1_500, ANSWER_CACHE_BYTES=str(2 * MIB))
    assert grown < 24 * MIB  # 1,500 responses of this length are 45 MiB


@pytest.mark.slow
async def test_100_000_addresses_take_less_than_64_mib(database_url: str, redis_url: str) -> None:
    """A7: 100,000 different addresses, with the cache's default limit."""
    grown = await grown_bytes(database_url, redis_url, 100_000)
    print(f"{grown / MIB:.1f} MiB")
    assert grown < 64 * MIB
