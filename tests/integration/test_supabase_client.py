"""Tests of the Supabase facade with Supabase's own client from npm, in a browser, on a page of another origin."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, Route

from kit.explorer_browser import chromium, reader
from kit.gateway import add_market
from kit.gateway_server import server
from kit.http_servers import folder_served
from kit.installed import npm_packages
from kit.servers import Databases
from kit.wallets import address
from zmart.store import discussions
from zmart.store.pool import Pool

pytestmark = pytest.mark.asyncio(loop_scope="module")
KIT = Path(__file__).parents[1] / "kit" / "supabase"
RELEASES = ["supabase-former", "supabase-now"]


@dataclass(frozen=True)
class Here:
    """A gateway with the Supabase facade, the origin that it allows, and the database and the market behind it."""

    api: str
    front_end: str
    pool: Pool
    market: str


@pytest.fixture(scope="module")
def packages() -> Path:
    """Return the folder with two releases of Supabase's client, as npm installs them."""
    return npm_packages(KIT)


@contextmanager
def _gateway(packages: Path, database_url: str) -> Iterator[tuple[str, str]]:
    with (
        folder_served(packages) as front_end,
        server(database_url, "", SUPABASE_FACADE="true", CORS_ORIGIN=front_end) as api,
    ):
        yield api, front_end


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def here(packages: Path, databases: Databases, migrated_template: str) -> AsyncIterator[Here]:
    database_url = databases.create(migrated_template)
    pool = await Pool.open(database_url, size=2)
    market = await add_market(pool, 1)
    await discussions.add(pool, market, address(1), "first", None)
    await discussions.add(pool, market, address(2), "second", None)
    with _gateway(packages, database_url) as (api, front_end):
        yield Here(api, front_end, pool, market)
    await pool.close()
    databases.drop(database_url)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with chromium() as opened:
        yield opened


async def _open(page: Page, release: str) -> None:
    await page.goto("/")
    await page.add_script_tag(url=f"/node_modules/{release}/dist/umd/supabase.js")


async def _ask(page: Page, here: Here) -> dict[str, Any]:
    script = (KIT / "former_requests.js").read_text("utf-8")
    told: dict[str, Any] = await page.evaluate(script, [here.api, address(1), here.market])
    return told


@pytest.mark.parametrize("release", RELEASES)
async def test_the_former_front_end_s_requests_are_answered_and_everything_else_is_an_error_with_a_sentence(
    browser: Browser, here: Here, release: str
) -> None:
    async with reader(browser, here.front_end) as page:
        await _open(page, release)
        told = await _ask(page, here)
    assert told["counted"] == {"data": [{"count": 0}], "error": None, "status": 200}
    assert told["upserted"]["data"]["wallet"] == address(1)
    assert [row["wallet"] for row in told["listed"]["data"]] == [address(1)]
    assert told["silent"] == {"data": None, "error": None, "status": 201}
    assert told["seen"] == {"data": None, "error": None, "status": 204}
    assert [row["content"] for row in told["comments"]["data"]] == ["second", "first"]
    assert told["none"] == {"data": [], "error": None, "status": 200}
    refused = {name: told[name] for name in ("everyone", "others", "unknown", "invalid")}
    assert {name: answer["status"] for name, answer in refused.items()} == {
        "everyone": 400, "others": 400, "unknown": 404, "invalid": 400,
    }  # fmt: skip
    for answer in refused.values():
        assert answer["data"] is None
        assert answer["error"]["message"].endswith(".")
    assert await here.pool.fetchval("SELECT count(*) FROM users") == 0


async def test_a_request_that_supabase_s_client_repeats_by_itself_may_say_so(
    browser: Browser, here: Here
) -> None:
    """Supabase's client adds a header to a request that it repeats; a page may send that header to the facade."""
    counts: list[str | None] = []

    async def busy_at_first(route: Route) -> None:
        counts.append(route.request.headers.get("x-retry-count"))
        if len(counts) > 1:
            await route.continue_()
            return
        headers = {"access-control-allow-origin": here.front_end, "retry-after": "0"}
        await route.fulfill(status=503, headers=headers, json={"message": "Busy."})

    async with reader(browser, here.front_end) as page:
        await page.route("**/rest/v1/users?**", busy_at_first)
        await _open(page, "supabase-now")
        counted = await page.evaluate(
            'async url => (await supabase.createClient(url, "any").from("users").select("count")).data',
            here.api,
        )
    assert counted == [{"count": 0}]
    assert counts == [None, "1"]


async def test_a_page_of_another_origin_gets_nothing(browser: Browser, here: Here, packages: Path) -> None:
    with folder_served(packages) as elsewhere:
        async with reader(browser, elsewhere) as page:
            await _open(page, "supabase-now")
            told = await _ask(page, here)
    assert {name: answer["data"] for name, answer in told.items()} == dict.fromkeys(told)
    assert all("Failed to fetch" in answer["error"]["message"] for answer in told.values())
