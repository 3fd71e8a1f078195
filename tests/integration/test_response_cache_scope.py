"""Tests that a commit removes from the cache the responses that show what it changed, and no others."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable

import pytest

from kit.gateway import add_market, add_trade
from kit.raw_client import RawClient, Served, connected, served
from kit.wallets import address, market_id
from zmart.services.gateway import metrics
from zmart.store import change_feed
from zmart.store.change_feed import ChangedMarkets
from zmart.store.pool import Pool

MARKETS = 9
PAGES = [f"/api/markets?limit=3&offset={offset}" for offset in (0, 3, 6)]
LISTS = [*PAGES, "/api/markets?state=ACTIVE", "/api/markets?sort=volume", "/api/markets?q=zebra"]
ROUTER = "Authorization: Bearer none\r\n"


async def trade(pool: Pool, chance: random.Random) -> None:
    await add_trade(pool, market_id(chance.randint(1, MARKETS)), address(2), chance.randint(1, 10**6))


async def volume(pool: Pool, chance: random.Random) -> None:
    sql = "UPDATE markets SET total_volume = total_volume + 5 WHERE market_id = $1"
    await pool.execute(sql, market_id(chance.randint(1, MARKETS)))


async def age(pool: Pool, chance: random.Random) -> None:
    """Move a market's creation, as a fork may, and with it the market's place in the list."""
    sql = "UPDATE markets SET created_at = created_at + $2 * interval '1 minute' WHERE market_id = $1"
    await pool.execute(sql, market_id(chance.randint(1, MARKETS)), chance.randint(-9, 9))


async def state(pool: Pool, chance: random.Random) -> None:
    sql = "UPDATE markets SET state = CASE state WHEN 'ACTIVE' THEN 'RESOLVING' ELSE 'ACTIVE' END WHERE market_id = $1"
    await pool.execute(sql, market_id(chance.randint(1, MARKETS)))


async def gone_and_back(pool: Pool, chance: random.Random) -> None:
    number = chance.randint(1, MARKETS)
    if await pool.fetchval("DELETE FROM markets WHERE market_id = $1 RETURNING 1", market_id(number)) is None:
        await pool.execute("DELETE FROM market_documents WHERE market_id = $1", market_id(number))
        await add_market(pool, number)


async def comment(pool: Pool, chance: random.Random) -> None:
    sql = "INSERT INTO discussions (market_id, wallet, content) VALUES ($1, $2, 'hello')"
    await pool.execute(sql, market_id(chance.randint(1, MARKETS)), address(3))


async def restored(pool: Pool, _: random.Random) -> None:
    await change_feed.renew_epoch(pool)


COMMITS: list[Callable[[Pool, random.Random], Awaitable[None]]] = [
    trade, trade, volume, volume, age, state, gone_and_back, comment, restored,
]  # fmt: skip


@pytest.mark.parametrize("seed", range(2))
async def test_after_any_commits_a_cached_response_is_what_the_router_says(
    database_url: str, redis_url: str, seed: int
) -> None:
    chance, hits = random.Random(seed), metrics.CACHE.hits
    async with served(database_url, redis_url) as here, connected(here.port) as client:
        for number in range(1, MARKETS + 1):
            await add_market(here.site.pool, number)
        paths = [*LISTS]
        for number in range(1, MARKETS + 1):
            key = market_id(number)
            paths += [f"/api/markets/{key}", f"/api/markets/{key}/trades", f"/api/markets/{key}/candles"]
        for _ in range(30):
            for _ in range(chance.choice([1, 1, 1, 4])):
                await chance.choice(COMMITS)(here.site.pool, chance)
            for path in chance.sample(paths, 8):
                assert await answer(client, path) == await answer(client, path, ROUTER), path
    assert metrics.CACHE.hits > hits


async def answer(client: RawClient, path: str, headers: str = "") -> tuple[int, bytes]:
    """Return the status, and the body if the status is 200, else no bytes."""
    status, _, body = await client.get(path, headers)
    return status, body if status == 200 else b""


async def test_a_trade_leaves_the_responses_of_other_markets_in_the_cache(
    database_url: str, redis_url: str
) -> None:
    async with served(database_url, redis_url) as here, connected(here.port) as client:
        for number in range(1, MARKETS + 1):
            await add_market(here.site.pool, number)
        others = [f"/api/markets/{market_id(2)}/trades", f"/api/markets/{market_id(2)}/candles?interval=1d"]
        touched = f"/api/markets/{market_id(1)}/trades"
        for path in (*others, touched):
            await settled(client, here, path)
        await trade_in(here, 1)
        for path in others:
            assert await misses(client, path) == 0, path
        assert await misses(client, touched) == 1


async def test_a_market_that_changes_leaves_pages_without_it_in_the_cache(
    database_url: str, redis_url: str
) -> None:
    """A change of the newest market, which is on the first page, makes only the first page be read again.

    A page is read again after a second in any case, so one undisturbed try of ten is enough.
    """
    async with served(database_url, redis_url) as here, connected(here.port) as client:
        for number in range(1, MARKETS + 1):
            await add_market(here.site.pool, number)
        newest = (await client.get(PAGES[0]))[2]
        number = next(n for n in range(1, MARKETS + 1) if market_id(n).encode() in newest)
        seen = set()
        for _ in range(10):
            for path in PAGES:
                await settled(client, here, path)
            await trade_in(here, number)
            seen.add(tuple([await misses(client, path) for path in reversed(PAGES)]))
        assert (0, 0, 1) in seen
        assert all(each[2] == 1 for each in seen)


async def test_what_changed_is_read_by_index_however_long_the_feed_is(database_url: str) -> None:
    pool = await Pool.open(database_url, 2)
    try:
        await add_market(pool, 1)
        async with pool.acquire() as connection:
            for _ in range(400):
                await connection.execute("UPDATE markets SET total_volume = total_volume + 1")
        await pool.execute("ANALYZE feed_commits, feed_changes")
        head = (await change_feed.head(pool)).head
        plan = await pool.fetch(
            f"EXPLAIN (ANALYZE, TIMING OFF) {change_feed.CHANGED_MARKETS}", head - 3, head
        )
        text = "\n".join(row[0] for row in plan)
        assert "Seq Scan on feed_c" not in text, text
        assert await change_feed.changed_markets(pool, head - 3, head) == only(1)
    finally:
        await pool.close()


async def test_what_changed_is_unknown_when_offsets_are_missing(database_url: str) -> None:
    pool = await Pool.open(database_url, 2)
    try:
        await add_market(pool, 1)
        start = (await change_feed.position(pool)).head
        await pool.execute("UPDATE markets SET total_volume = 1")
        end = (await change_feed.position(pool)).head
        assert await change_feed.changed_markets(pool, start, end) == only(1)
        await pool.execute("DELETE FROM feed_changes")
        assert await change_feed.changed_markets(pool, start, end) is None
    finally:
        await pool.close()


def only(number: int) -> ChangedMarkets:
    return ChangedMarkets([market_id(number)], market_list_changed=False)


async def trade_in(here: Served, number: int) -> None:
    key = market_id(number)
    await add_trade(here.site.pool, key, address(2), 7)
    await here.site.pool.execute(
        "UPDATE markets SET total_volume = total_volume + 7 WHERE market_id = $1", key
    )


async def settled(client: RawClient, here: Served, path: str) -> None:
    """Repeat a request until its response comes from the cache."""
    for _ in range(20):
        before = metrics.CACHE.hits
        await client.get(path)
        if metrics.CACHE.hits > before:
            return
    raise AssertionError(f"{path} is never cached")


async def misses(client: RawClient, path: str) -> int:
    before = metrics.CACHE.misses
    assert (await client.get(path))[0] == 200
    return metrics.CACHE.misses - before
