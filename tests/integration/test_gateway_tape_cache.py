"""Pages of a market's trades while the response cache has nothing: what is read, and that it is as it is now."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from kit.gateway import Site, add_market, add_trade, site
from kit.wallets import address, market_id
from zmart.services.gateway.api.tape_cache import PageKey, TapeCache
from zmart.store import trades
from zmart.store.pool import Pool

TRADES = f"/api/markets/{market_id(1)}/trades"


class Counted:
    """What the pool read of the table `trades`: "page" for a page of rows, "fingerprint" for its fingerprint."""

    def __init__(self, pool: Pool, patch: pytest.MonkeyPatch) -> None:
        self.statements: list[str] = []
        self._count(pool, "fetch", "page", patch)
        self._count(pool, "fetchval", "fingerprint", patch)

    def _count(self, pool: Pool, method: str, name: str, patch: pytest.MonkeyPatch) -> None:
        run = getattr(pool, method)

        async def counted(sql: str, *values: object) -> object:
            if "FROM trades" in sql:
                self.statements.append(name)
            return await run(sql, *values)

        patch.setattr(pool, method, counted)

    def taken(self) -> list[str]:
        taken, self.statements = self.statements, []
        return taken


@pytest.fixture
async def here(database_url: str) -> AsyncIterator[Site]:
    """Yield a gateway without a response cache, and a market with 30 trades."""
    async with site(database_url, answer_cache_bytes=0, rate_limit_reads=10_000) as here:
        await add_market(here.pool, 1)
        for slot in range(1, 31):
            await add_trade(here.pool, market_id(1), address(1), slot)
        yield here


async def slots(here: Site, query: str = "") -> list[int]:
    answer = await here.http.get(TRADES + query)
    assert answer.status_code == 200
    return [trade["slot"] for trade in answer.json()["trades"]]


async def test_a_page_is_read_once_and_again_after_a_change(
    here: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As long as the fingerprint is the same, the rows are not read."""
    counted = Counted(here.gateway.context.pool, monkeypatch)
    assert await slots(here) == list(range(1, 31))
    assert counted.taken() == ["page"]
    assert await slots(here) == list(range(1, 31))
    assert counted.taken() == ["fingerprint"]
    await add_trade(here.pool, market_id(1), address(1), 31)
    assert await slots(here) == list(range(1, 32))
    assert counted.taken() == ["fingerprint", "page"]
    assert await slots(here) == list(range(1, 32))
    assert counted.taken() == ["fingerprint"]


async def test_each_page_and_form_of_amounts_is_cached_for_itself(
    here: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = Counted(here.gateway.context.pool, monkeypatch)
    queries = {
        "": (1, 30),
        "?numeric=string": (1, 30),
        "?limit=10": (21, 30),
        "?limit=10&offset=10": (11, 20),
    }
    for statement in ("page", "fingerprint"):
        for query, (first, last) in queries.items():
            assert await slots(here, query) == list(range(first, last + 1))
            assert counted.taken() == [statement], query


CHANGES = {
    "a value": ("UPDATE trades SET cost_lamports = 777 WHERE slot = 30", list(range(1, 31))),
    "the newest is gone": ("DELETE FROM trades WHERE slot = 30", list(range(1, 30))),
    "the oldest is gone": ("DELETE FROM trades WHERE slot = 1", list(range(2, 31))),
    "all are gone": ("DELETE FROM trades", []),
    "another order": ("UPDATE trades SET index_in_block = 2 WHERE slot = 1", list(range(1, 31))),
}


@pytest.mark.parametrize("change", CHANGES)
async def test_a_changed_page_is_shown_as_it_is_now(here: Site, change: str) -> None:
    """A re-organisation changes or removes rows of a page that is cached."""
    await slots(here)
    statement, expected = CHANGES[change]
    await here.pool.execute(statement)
    assert await slots(here) == expected
    answer = (await here.http.get(TRADES)).json()
    rows = await here.pool.fetch("SELECT cost_lamports FROM trades ORDER BY slot")
    assert [trade["cost"] for trade in answer["trades"]] == [row[0] for row in rows]
    assert answer["count"] == len(rows)


async def test_pages_of_rows_that_one_transaction_wrote_differ_in_their_trades(here: Site) -> None:
    """All rows have the same xmin: the fingerprint tells them apart by their keys."""
    await here.pool.execute("UPDATE trades SET cost_lamports = 5")
    full = await trades.page_fingerprint(here.pool, market_id(1), 10)
    await here.pool.execute("DELETE FROM trades WHERE slot = 25")
    assert await trades.page_fingerprint(here.pool, market_id(1), 10) != full


@pytest.mark.parametrize("after", [None, (20, 0, 0)])
@pytest.mark.parametrize(("limit", "offset"), [(10, 0), (10, 25), (1, 40), (51, 0)])
async def test_a_page_has_the_fingerprint_that_is_read_alone(
    here: Site, limit: int, offset: int, after: tuple[int, int, int] | None
) -> None:
    page = await trades.page(here.pool, market_id(1), limit, offset, after)
    assert page.fingerprint == await trades.page_fingerprint(here.pool, market_id(1), limit, offset, after)
    assert page.trades == await trades.of_market(here.pool, market_id(1), limit, offset, after)


async def test_the_pages_that_were_not_requested_for_longest_are_evicted(
    here: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bytes of all cached pages are bounded; one that alone is larger is not kept."""
    counted = Counted(here.pool, monkeypatch)
    keys = [PageKey(market_id(1), 10, offset, None, text=False) for offset in (0, 5, 10)]
    one_bytes = 1_000 + len(memoryview((await TapeCache(here.pool).page(keys[0])).trades))
    cache = TapeCache(here.pool, max_bytes=int(2.5 * one_bytes))
    small = TapeCache(here.pool, max_bytes=one_bytes // 2)
    counted.taken()
    for number, statement in ((0, "page"), (1, "page"), (0, "fingerprint"), (2, "page"), (0, "fingerprint")):
        await cache.page(keys[number])
        assert counted.taken() == [statement]
    await cache.page(keys[1])
    assert counted.taken() == ["page"]
    for _ in range(2):
        await small.page(keys[0])
        assert counted.taken() == ["page"]
