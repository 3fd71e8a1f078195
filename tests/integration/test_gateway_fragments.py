"""How many statements a page of a market's trades takes while the response cache has nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from kit.gateway import Site, add_market, add_trade, site
from kit.wallets import address, market_id
from zmart.store.pool import Pool

TRADES = f"/api/markets/{market_id(1)}/trades"


class Counted:
    """The statements on the table `trades` that the pool fetched."""

    def __init__(self, pool: Pool, patch: pytest.MonkeyPatch) -> None:
        self.count = 0
        fetch = pool.fetch

        async def counted(sql: str, *values: object) -> object:
            self.count += "FROM trades" in sql
            return await fetch(sql, *values)

        patch.setattr(pool, "fetch", counted)

    def taken(self) -> int:
        taken, self.count = self.count, 0
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


async def test_a_page_of_trades_takes_one_statement_and_after_a_trade_two(
    here: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A first page is read whole by one statement; later ones read the versions, and the rows that are new."""
    counted = Counted(here.gateway.context.pool, monkeypatch)
    assert await slots(here) == list(range(1, 31))
    assert counted.taken() == 1
    assert await slots(here) == list(range(1, 31))
    assert counted.taken() == 1
    await add_trade(here.pool, market_id(1), address(1), 31)
    assert await slots(here) == list(range(1, 32))
    assert counted.taken() == 2
    assert await slots(here) == list(range(1, 32))
    assert counted.taken() == 1


async def test_each_form_of_amounts_is_read_whole_once(here: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    counted = Counted(here.gateway.context.pool, monkeypatch)
    for query in ("?numeric=string", "", "?numeric=string&limit=10", "?limit=10"):
        assert await slots(here, query) == list(range(21 if "limit" in query else 1, 31))
        assert counted.taken() == 1, query


async def test_a_changed_trade_is_shown_as_it_is_now(here: Site) -> None:
    """A re-organisation changes a row that is cached: the version of the row differs."""
    await slots(here)
    await here.pool.execute("UPDATE trades SET cost_lamports = 777 WHERE slot = 30")
    await here.pool.execute("DELETE FROM trades WHERE slot = 1")
    answer = (await here.http.get(TRADES)).json()["trades"]
    assert [trade["slot"] for trade in answer] == list(range(2, 31))
    assert answer[-1]["cost"] == 777
