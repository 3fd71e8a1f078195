"""Tests of the trade form: only what its page shows can be sent, with the bound that stood there at that moment."""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import parse_qs, urlsplit

from playwright.async_api import Page, Route, expect

from kit import standard_wallet
from kit.explorer_browser import chromium, reader
from kit.gateway import add_market, add_position
from kit.gateway_server import server
from kit.wallets import address, wallet
from zmart.market.types import MarketId
from zmart.store.pool import Pool

SOL = 10**9


class Market:
    """What the page asks of a market: `per_share` lamports a share, and no trade is built.

    `asked`: an event for each cost, set when its quote was asked for. A cost in `held` has its quote once that event is
    set. `orders` holds what the page sent.
    """

    def __init__(self) -> None:
        self.per_share = SOL // 2
        self.balance = 100 * SOL
        self.held: dict[int, asyncio.Event] = {}
        self.asked: defaultdict[int, asyncio.Event] = defaultdict(asyncio.Event)
        self.orders: list[dict[str, object]] = []

    async def quote(self, route: Route) -> None:
        query = parse_qs(urlsplit(route.request.url).query)
        if query["side"] == ["sell"]:
            await self.quote_of_sale(route, int(query["shares"][0]))
            return
        cost = int(query["max_cost"][0])
        self.asked[cost].set()
        if cost in self.held:
            await self.held[cost].wait()
        shares = cost * SOL // self.per_share
        fees = {"protocol": 0, "resolver": 0, "liquidity_provider": 0, "total": 0}
        await route.fulfill(
            json={
                "side": "buy", "outcome": "YES", "shares": shares, "cost": cost, "fees": fees, "total": cost,
                "average_price": "0.5", "price_yes_after": "0.51", "price_impact_percent": 1, "min_shares": shares - 1,
            }
        )  # fmt: skip

    async def quote_of_sale(self, route: Route, shares: int) -> None:
        cost = shares * self.per_share // SOL
        fees = {"protocol": 0, "resolver": 0, "liquidity_provider": 0, "total": 0}
        await route.fulfill(
            json={
                "side": "sell", "outcome": "YES", "shares": shares, "cost": cost, "fees": fees, "total": cost,
                "average_price": "0.5", "price_yes_after": "0.49", "price_impact_percent": -1, "min_proceeds": cost,
            }
        )  # fmt: skip

    async def order(self, route: Route) -> None:
        self.orders.append(json.loads(route.request.post_data or ""))
        await route.fulfill(status=409, json={"error": "Conflict", "message": "It was not built."})


@asynccontextmanager
async def opened(
    database_url: str, redis_url: str, market: Market, **environment: str
) -> AsyncIterator[Page]:
    """Yield the page of an active market, in a browser that has a wallet."""
    pool = await Pool.open(database_url, size=2)
    key = await add_market(pool, 1)
    await pool.close()
    with server(database_url, redis_url, **environment) as here:
        async with chromium() as browser, reader(browser, here) as page:
            await page.route("**/api/markets/*/quote*", market.quote)
            await page.route("**/api/trades/buy", market.order)
            await page.route("**/balance", lambda route: route.fulfill(json={"lamports": market.balance}))
            await standard_wallet.install(page, wallet(2))
            await page.goto(f"/markets/{key}")
            yield page


async def test_nothing_can_be_sent_while_the_page_shows_the_quote_of_another_amount(
    database_url: str, redis_url: str
) -> None:
    """The quote of 1 SOL arrives while 12 SOL are in the form already."""
    market = Market()
    market.held = {cost: asyncio.Event() for cost in (SOL // 2, SOL, 12 * SOL)}
    async with opened(database_url, redis_url, market) as page:
        send, amount = page.locator("[data-send]"), page.get_by_label("SOL to spend")
        await expect(send).to_be_disabled()  # before the first quote
        await amount.fill("1")
        await market.asked[SOL].wait()
        await amount.fill("12")
        market.held[SOL].set()
        await market.asked[12 * SOL].wait()
        await asyncio.sleep(0.2)
        await expect(send).to_be_disabled()
        market.held[12 * SOL].set()
        await expect(page.locator("[data-quote]")).to_contain_text("24.00 YES shares")
        await expect(send).to_be_enabled()


async def test_an_amount_that_may_separate_thousands_cannot_be_sent(
    database_url: str, redis_url: str
) -> None:
    """Nothing is quoted for 1,000, and a button that adds to the amount does not put 1 in its place."""
    market = Market()
    async with opened(database_url, redis_url, market) as page:
        send, amount = page.locator("[data-send]"), page.get_by_label("SOL to spend")
        await expect(page.locator("[data-quote]")).to_contain_text("1.00 YES shares")
        await amount.fill("1,000")
        await expect(page.locator("[data-quote]")).to_contain_text("without separators of thousands")
        await expect(send).to_be_disabled()
        await page.locator("[data-add]").first.click()
        await expect(amount).to_have_value("1,000")
        assert set(market.asked) == {SOL // 2}
        await amount.fill("0,5")
        await expect(send).to_be_enabled()


async def test_the_bound_is_that_of_the_moment_in_which_the_button_was_pressed(
    database_url: str, redis_url: str
) -> None:
    """The price doubles while the wallet is being connected."""
    market = Market()
    async with opened(database_url, redis_url, market) as page:
        await expect(page.locator("[data-quote]")).to_contain_text("1.00 YES shares")
        async with page.expect_request("**/quote?*"):
            await page.evaluate("document.dispatchEvent(new CustomEvent('zmart:renewed'))")
            await expect(page.locator("[data-send]")).to_be_enabled()  # its quote is on the page
        await page.get_by_role("button", name="Buy YES").click()
        await expect(page.locator("dialog")).to_be_visible()
        market.per_share = SOL
        await page.evaluate("document.dispatchEvent(new CustomEvent('zmart:price'))")
        await expect(page.locator("[data-quote]")).to_contain_text("0.50 YES shares")
        await expect(page.locator("[data-send]")).to_be_disabled()  # a trade is under way
        await page.locator("dialog").get_by_role("button", name=standard_wallet.NAME).click()
        await expect(page.locator("[data-part] [data-status]")).to_contain_text("It was not built.")
        assert market.orders[0]["min_shares"] == SOL - 1


async def test_a_purchase_leaves_what_a_first_position_and_the_wallet_itself_need(
    database_url: str, redis_url: str
) -> None:
    """The program takes 0.0021576 SOL of rent for the first position; no wallet may be left below 0.00089088 SOL."""
    market = Market()
    market.balance = SOL
    pool = await Pool.open(database_url, size=2)
    async with opened(database_url, redis_url, market) as page:
        await standard_wallet.connect(page)
        send, amount = page.locator("[data-send]"), page.get_by_label("SOL to spend")
        reason = page.locator("[data-quote] .why")
        await amount.fill("0.999")
        await expect(reason).to_contain_text(
            "than the network asks for a fee and for rent: Max leaves enough for it."
        )
        await expect(send).to_be_disabled()
        await amount.fill("0.9969")
        await expect(send).to_be_enabled()
        key = page.url.rsplit("/", 1)[1]
        await add_position(pool, MarketId(key), address(2), SOL, 0, SOL)
        await amount.fill("0.999")
        await expect(send).to_be_enabled()
        await amount.fill("0.9995")
        await expect(reason).to_contain_text("for rent")
        await expect(send).to_be_disabled()
    await pool.close()


async def test_a_trade_that_v069_does_not_make_or_that_brings_nothing_is_not_offered(
    database_url: str, redis_url: str
) -> None:
    """Its sell_shares never succeeds, and its buy_shares may sell 0 shares (docs/program.md)."""
    market = Market()
    async with opened(database_url, redis_url, market, PRICING_MODEL="v069") as page:
        send, reason = page.locator("[data-send]"), page.locator("[data-quote] .why")
        await expect(send).to_be_enabled()
        market.per_share = 10**20
        await page.get_by_label("SOL to spend").fill("0.0001")
        await expect(reason).to_have_text("This amount buys no shares: enter a larger one.")
        await expect(send).to_be_disabled()
        await page.get_by_text("Sell", exact=True).click()
        await expect(reason).to_contain_text("cannot pay for shares that are sold")
        await page.get_by_label("YES shares to sell").fill("1")
        await expect(page.get_by_role("button", name="Sell YES")).to_be_disabled()
        await expect(reason).to_contain_text("cannot pay for shares that are sold")


async def test_what_max_reads_is_not_written_into_a_form_that_was_changed_meanwhile(
    database_url: str, redis_url: str
) -> None:
    """P5: the wallet has 100 SOL and 200 shares; its balance arrives once Sell was chosen."""
    pool = await Pool.open(database_url, size=2)
    requested, answered = asyncio.Event(), asyncio.Event()

    async def late(route: Route) -> None:
        requested.set()
        await answered.wait()
        await route.fulfill(json={"lamports": 100 * SOL})

    async with opened(database_url, redis_url, Market()) as page:
        key = MarketId(page.url.rsplit("/", 1)[1])
        await add_position(pool, key, address(2), 200 * SOL, 0, SOL)
        await standard_wallet.connect(page)
        await expect(page.locator("[data-held-amount]")).to_have_text("100.000 SOL")
        await page.route("**/balance", late)
        most = page.get_by_role("button", name="Max")
        await most.click()
        await requested.wait()
        await page.get_by_text("Sell", exact=True).click()
        amount = page.get_by_label("YES shares to sell")
        await expect(amount).to_have_value("200")
        answered.set()
        await asyncio.sleep(0.5)
        await expect(amount).to_have_value("200")
        await amount.fill("7")
        await most.click()
        await expect(amount).to_have_value("200")
    await pool.close()


async def test_shares_that_cannot_be_read_are_not_called_none(database_url: str, redis_url: str) -> None:
    """No amount is written into the form; the page says why, and what it holds once that can be read."""
    pool = await Pool.open(database_url, size=2)
    fails = True

    async def position(route: Route) -> None:
        await (route.fulfill(status=500, json={"message": "No answer."}) if fails else route.continue_())

    async with opened(database_url, redis_url, Market()) as page:
        key = MarketId(page.url.rsplit("/", 1)[1])
        await add_position(pool, key, address(2), 200 * SOL, 0, SOL)
        await page.route("**/api/users/*/positions/*", position)
        await standard_wallet.connect(page)
        unread, status = page.locator("[data-unread]"), page.locator("[data-part] [data-status]")
        await expect(unread).to_have_text("What this wallet holds cannot be read now.")
        await expect(unread).to_be_visible()
        await page.get_by_text("Sell", exact=True).click()
        amount = page.get_by_label("YES shares to sell")
        await expect(amount).to_have_value("")
        await expect(status).to_have_text("What this wallet holds cannot be read now.")
        await expect(page.locator("[data-send]")).to_be_disabled()
        fails = False
        await expect(page.locator("[data-mine]")).to_contain_text("200.00 shares")
        await expect(unread).to_be_hidden()
        await page.get_by_role("button", name="Max").click()
        await expect(amount).to_have_value("200")
        await expect(status).to_have_text("")
    await pool.close()
