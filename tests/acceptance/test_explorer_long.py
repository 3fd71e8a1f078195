"""Every page of the explorer, light and dark, on desktop and phone: judged by axe, with screenshots."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from secrets import token_hex

import pytest
import pytest_asyncio
from playwright.async_api import Browser, expect

from kit.explorer_browser import DESKTOP, PHONE, axe_source, chromium, faults, find_chromium, keep, reader
from kit.gateway_server import server
from kit.market_by_hand import trader
from zmart.local.demo import scenes_early as early
from zmart.local.demo import scenes_late as late
from zmart.local.demo.world import DemoWorld, MarketPlay
from zmart.local.processes import free_port
from zmart.ops.dashboard import Dashboard
from zmart.settings import Settings, load_settings
from zmart.store.pool import Pool

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]


@pytest.fixture(scope="module")
def paths(request: pytest.FixtureRequest) -> dict[str, str]:
    """Return paths of all kinds of pages by name, with markets in all states."""
    find_chromium()
    return asyncio.run(_played(request.getfixturevalue("stack")))


async def _played(stack: Settings) -> dict[str, str]:
    async with DemoWorld.open(stack) as world:
        await early.fund(world)
        await early.sign_in(world)
        markets = {
            name: MarketPlay(kind, user)
            for (name, kind), user in zip(_PLAYS.items(), world.users, strict=False)
        }
        for name, play in markets.items():
            await early.create(world, play)
            if name == "cancelled":
                await early.cancel(world, play)
            elif name != "proposed":
                await _activated(world, play)
        await late.talk(world, markets["active"])
        await late.travel(world, 25)  # the program accepts no outcome before
        await late.resolve(world, markets["finalized"], world.users[5], False)
        await late.travel(world, 74)
        await late.finalized(world, markets["finalized"], False)
        for name in ("resolving", "disputed"):
            await late.resolve(world, markets[name], world.users[5], True)
        await late.dispute(world, markets["disputed"], world.users[2])
        pages = {name: f"/markets/{play.id}" for name, play in markets.items()}
        trade = next(iter(markets["active"].trades))
        return {
            **_PAGES,
            **pages,
            "wallet": f"/wallets/{world.users[1].wallet}",
            "transaction": f"/transactions/{trade}",
        }


async def _activated(world: DemoWorld, play: MarketPlay) -> None:
    await early.vote(world, play, "proposal", [[(play.creator, "like")]])
    await early.decided(world, play)
    await early.activate(world, play)
    for user, outcome in ((world.users[1], True), (world.users[2], False), (world.users[3], True)):
        await late.buy(world, play, user, outcome, 900_000_000)


_PLAYS = {
    "proposed": "open", "cancelled": "cancelled", "active": "open", "resolving": "undisputed",
    "disputed": "overturned", "finalized": "undisputed",
}  # fmt: skip
_PAGES = {
    "list": "/", "nothing": "/?q=nothingmatchesthis", "new": "/new", "portfolio": "/portfolio",
    "leaderboard": "/leaderboard", "activity": "/activity", "problem": "/markets/nothing",
}  # fmt: skip


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with chromium() as opened:
        yield opened


async def test_axe_finds_nothing_serious_and_nothing_is_wider_than_the_window_on_any_page(
    browser: Browser, stack: Settings, paths: dict[str, str]
) -> None:
    axe, result = axe_source(), {}
    async with trader(browser, stack) as visitor:
        await visitor.page.goto("/")
        await visitor.connect()
        for name, path in paths.items():
            if name == "portfolio":
                continue  # it redirects to the wallet's page
            await visitor.page.goto(path, wait_until="load")
            for scheme in ("light", "dark"):
                await visitor.page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
                for size in (DESKTOP, PHONE):
                    await visitor.page.set_viewport_size(size)
                    where = f"all-{name}-{scheme}-{size['width']}"
                    result[where] = await faults(visitor.page, axe)
                    if await visitor.page.evaluate("document.documentElement.scrollWidth > innerWidth"):
                        result[where].append("wider than the window")
                    await keep(visitor.page, where)
    assert {where: what for where, what in result.items() if what} == {}


async def test_a_comment_is_answered_and_deleted_and_a_profile_is_written_by_its_wallet(
    browser: Browser, stack: Settings, paths: dict[str, str]
) -> None:
    async with trader(browser, stack) as ada, trader(browser, stack) as bo:
        for each in (ada, bo):
            await each.page.goto(paths["active"])
            await each.connect()
        await ada.page.get_by_label("Write a comment").fill("Who has seen it?")
        await ada.button("Comment").click()
        comment = bo.page.locator(".comment", has_text="Who has seen it?").first
        await expect(comment.get_by_role("button", name="Delete")).to_be_hidden()
        await comment.get_by_role("button", name="Reply").click()
        await bo.page.get_by_label("Write a comment").fill("I have.")
        await bo.button("Comment").click()
        reply = ada.page.locator(".comment .replies .comment", has_text="I have.")
        await expect(reply).to_have_count(1)
        await expect(reply.get_by_role("button", name="Delete")).to_be_hidden()
        mine = bo.page.locator(".replies .comment", has_text="I have.")
        await mine.get_by_role("button", name="Delete").click()
        await mine.get_by_role("button", name="Delete it?").click()
        await expect(reply).to_have_count(0)
        await bo.page.get_by_role("link", name="Portfolio").click()
        await bo.page.wait_for_url(f"**/wallets/{bo.address}")
        await bo.page.get_by_label("Name").fill("Bo of the harbour")
        await bo.button("Save the profile").click()
        await expect(bo.page.get_by_text("Profile saved.")).to_be_visible()
        await ada.page.goto(f"/wallets/{bo.address}")
        await expect(ada.page.get_by_role("heading", name="Bo of the harbour")).to_be_visible()
        await expect(ada.page.locator("[data-profile]")).to_be_hidden()


async def test_outside_the_local_stack_a_wallet_trades_and_nothing_local_is_shown(
    browser: Browser, stack: Settings
) -> None:
    """Cases P5 and P23: a gateway with ZMART_ENV=production beside the stack's other services."""
    port = free_port()
    own = f"http://127.0.0.1:{port}"
    secrets = dict.fromkeys(("AUTH_TOKEN_SECRET", "OPERATOR_TOKEN", "HELIUS_WEBHOOK_SECRET"), token_hex(32))
    production = {
        "ZMART_ENV": "production", "PUBLIC_API_URL": own, "PUBLIC_WS_URL": f"ws://127.0.0.1:{stack.ws_port}",
        "SOLANA_RPC_URL": stack.solana_rpc_url, "BACKEND_KEYPAIR_PATH": str(stack.backend_keypair_path),
        "VOTE_RULE_PROPOSALS": "open", "MIN_PROPOSAL_VOTES": "1", **secrets,
    }  # fmt: skip
    with server(stack.require("database_url"), stack.require("redis_url"), port, **production):
        async with (
            trader(browser, stack, url=own, chain="solana:mainnet") as ada,
            trader(browser, stack, url=own, chain="solana:mainnet") as bo,
        ):
            await ada.propose("Will this be made outside the local stack?")
            await bo.page.goto(ada.page.url)
            await bo.connect()
            await ada.press("Yes, it should", "Your vote counts")
            await ada.press("Activate", "Activated")
            await bo.buy("YES", "2")
            await expect(ada.page.locator(f'[data-tape] a[href="/wallets/{bo.address}"]')).to_have_count(1)
            await ada.buy("NO", "1")
            await expect(bo.page.locator(f'[data-tape] a[href="/wallets/{ada.address}"]')).to_have_count(1)
            await bo.page.get_by_text("Sell", exact=True).click()
            await bo.press("Sell YES", "Sold")
            await bo.page.get_by_label("Write a comment").fill("Nobody lent me a wallet.")
            await bo.button("Comment").click()
            await expect(ada.page.locator(".comment").first).to_contain_text("Nobody lent me a wallet.")
            await keep(ada.page, "outside-the-local-stack")
            shown = await ada.page.content()
            assert [each for each in ("/dashboard", "emo wallet", "local chain") if each in shown] == []
            assert "/dashboard" not in await (await ada.page.request.get("/robots.txt")).text()


async def test_every_page_is_complete_without_scripts(
    browser: Browser, stack: Settings, paths: dict[str, str]
) -> None:
    base = f"http://127.0.0.1:{stack.api_port}"
    async with reader(browser, base, java_script_enabled=False) as page:
        for name, path in paths.items():
            await page.goto(path)
            assert (await page.locator("main h1").inner_text()).strip(), name
            assert await page.locator("[data-needs-script]:visible, dialog:visible").count() == 0, name


_TROUBLES = f"""
INSERT INTO alerts (key, severity, message)
VALUES ('failing:dispute:{"a" * 64}', 'critical', 'The dispute of market {"a" * 64} failed 3 times in a row: why'),
    ('stuck markets', 'warning', '3 market(s) made no progress for 7 days');
INSERT INTO market_work (market_id, job, status, attempts, last_error, next_attempt_at)
VALUES ('{"a" * 64}', 'dispute', 'failing', 3, 'ProgramError: Unauthorized (6001)', now());
INSERT INTO intents (market_id, action, state, attempts, signature, error)
VALUES ('{"a" * 64}', 'finalize_market', 'uncertain', 2, '{"5" * 88}', 'two nodes disagree');
INSERT INTO inbox (signature, source, slot, state, last_error)
VALUES ('{"4" * 88}', 'scan', 5, 'dead', 'it cannot be decoded');
INSERT INTO service_status (service, instance, ready, reason)
VALUES ('gateway', 'a-host-with-a-long-name.example:12345', true, ''), ('indexer', 'h:1', false, 'a gap in slot 5');
INSERT INTO figure_history
SELECT 60, date_trunc('minute', now()) - n * interval '1 minute', 'gateway', 'h:1', 60,
    jsonb_build_object('requests', n * 600, 'messages', 77, 'request_seconds:0.1', 50, 'request_seconds:+Inf', 60),
    '{{"lag_slots": 33, "payer_lamports": 2500000000}}' FROM generate_series(0, 50) n
"""


async def test_the_dashboard_with_every_trouble_is_accessible_and_no_wider_than_a_phone(
    browser: Browser, database_url: str
) -> None:
    pool = await Pool.open(database_url, size=1)
    await pool.execute(_TROUBLES)
    await pool.close()
    dashboard = Dashboard(load_settings(database_url=database_url))
    status, troubled = await dashboard.page()
    await dashboard.close()
    assert (status, troubled.count("<tr>") > 10) == (200, True)
    axe, result = axe_source(), {}
    async with reader(browser, "http://127.0.0.1") as page:
        await page.set_content(troubled)  # without the refresh that the response's header demands
        for scheme in ("light", "dark"):
            await page.emulate_media(color_scheme=scheme)
            for size in (DESKTOP, PHONE):
                await page.set_viewport_size(size)
                where = f"dashboard-{scheme}-{size['width']}"
                result[where] = await faults(page, axe)
                if await page.evaluate("document.documentElement.scrollWidth > innerWidth"):
                    result[where].append("wider than the window")
                await keep(page, where)
    assert {where: what for where, what in result.items() if what} == {}
