"""Tests of open pages: what the live feed tells, what a page fetches again, and what its forms say."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from playwright.async_api import Page, Request, Route, WebSocketRoute, expect
from solders.hash import Hash
from solders.message import Message
from solders.transaction import Transaction

from kit import rows, standard_wallet
from kit.explorer_browser import PHONE, chromium, reader
from kit.gateway import ADMIN, add_market, add_position, add_trade
from kit.gateway_server import server
from kit.wallets import address, address_of, wallet
from zmart.market.amounts import price_text
from zmart.settings import Settings
from zmart.store.pool import Pool

SOCKET = "ws://live.invalid/"
_INSERT = """
INSERT INTO discussions (market_id, wallet, content, parent_id, created_at)
VALUES ($1, $2, $3, $4, now() - $5 * interval '1 minute') RETURNING id
"""
_FIGURES = {
    "current_price_yes": "0.5", "current_price_no": "0.5", "total_volume": 0, "traders": 1, "current_liquidity": 0,
    "shares_yes": 0, "shares_no": 0, "trades_count": 0,
}  # fmt: skip
_INDEXED_NOW = "UPDATE index_progress SET final_time = extract(epoch FROM now())::bigint, scanned_at = now()"
_HELD_OPEN = """
INSERT INTO vote_closings (market_id, kind, closed_at, closed_slot, log_size, voting_over)
VALUES ($1, 'dispute', 1, 1, 0, false)
"""
_RESOLVING = """
UPDATE markets SET state = 'RESOLVING', proposed_outcome = 'yes', resolution_proposed_at = now() WHERE market_id = $1
"""


async def connect(page: Page) -> None:
    """Connect the wallet of the kit, which has been installed."""
    await page.get_by_role("button", name="Connect wallet").click()
    await page.locator("dialog").get_by_role("button", name=standard_wallet.NAME).click()


async def play(
    page: Page, channel: str, *messages: dict[str, object], subscribed: asyncio.Event | None = None
) -> Callable[[], None]:
    """Serve the page's socket, and return a function that sends `messages` to the page. `subscribed` is set once the
    page has subscribed."""
    subscribed = subscribed or asyncio.Event()
    routes: list[WebSocketRoute] = []

    def send(kind: str, offset: int, data: object) -> None:
        envelope = {"type": kind, "channel": channel, "epoch": "e", "offset": offset, "data": data}
        routes[-1].send(json.dumps(envelope))

    def opened(route: WebSocketRoute) -> None:
        routes.append(route)
        send("welcome", 0, {"epoch": "e", "heartbeat_ms": 60_000})
        route.on_message(answer)

    def answer(text: str | bytes) -> None:
        if json.loads(text)["action"] == "subscribe":
            send("subscribed", 10**9, {"epoch": "e", "offset": 10**9, "outcome": "replayed"})
            subscribed.set()

    def tell() -> None:
        assert subscribed.is_set()
        for number, message in enumerate(messages, 1):
            send(str(message["type"]), 10**9 + number, message["data"])

    await page.route_web_socket(SOCKET, opened)
    return tell


async def test_a_trade_that_the_chart_has_read_is_not_added_when_the_feed_brings_it(
    database_url: str, redis_url: str
) -> None:
    """The feed resumes from the position of the page; the chart is read after it."""
    now = datetime.now(UTC).replace(second=1, microsecond=0)
    pool = await Pool.open(database_url, size=2)
    key = await add_market(
        pool, 1, activated_at=now - timedelta(hours=2), created_at=now - timedelta(hours=3)
    )
    await add_trade(pool, key, address(2), 1, cost=10**9, at=now - timedelta(hours=1))
    trade = {
        "id": f"{wallet(2).sign_message(b'trade')}:0", "action": "created", "trade_type": "buy", "outcome": "YES",
        "shares": 1000, "cost": 5 * 10**9, "price_after": "0.510000000", "user_wallet": address(2),
        "tx_signature": str(wallet(2).sign_message(b"trade")), "created_at": now.isoformat(),
    }  # fmt: skip
    with server(database_url, redis_url, PUBLIC_WS_URL=SOCKET) as here:
        async with chromium() as browser, reader(browser, here) as page:
            tell = await play(page, f"market:{key}", {"type": "trade", "data": trade})
            await page.clock.set_fixed_time(
                now
            )  # the trade is in the chart's last minute, however long this takes

            async def traded_meanwhile(route: Route) -> None:
                if await pool.fetchval("SELECT count(*) FROM trades") == 1:
                    await add_trade(pool, key, address(2), 2, cost=5 * 10**9, at=now)
                await route.continue_()

            await page.route(f"**/api/markets/{key}/*", traded_meanwhile)
            await page.goto(f"/markets/{key}")
            note = page.locator("[data-chart-note]")
            await expect(note).to_contain_text("5.000 SOL traded")
            await expect(page.locator("[data-link]")).to_have_text("live")
            tell()
            await expect(page.locator("[data-tape] tr")).to_have_count(2)
            await expect(note).to_contain_text("5.000 SOL traded")
    await pool.close()


async def test_a_page_whose_market_moved_on_asks_again_when_the_server_could_not_answer(
    database_url: str, redis_url: str
) -> None:
    pool = await Pool.open(database_url, size=2)
    key = await add_market(pool, 1)
    refused = 0

    async def first_refused(route: Route) -> None:
        nonlocal refused
        if route.request.resource_type != "fetch" or refused == 2:
            await route.continue_()
            return
        refused += 1
        await (route.abort() if refused == 1 else route.fulfill(status=503, body="busy"))

    with server(database_url, redis_url, PUBLIC_WS_URL=SOCKET) as here:
        async with chromium() as browser, reader(browser, here) as page:
            market = {"market_id": key, "state": "RESOLVING", **_FIGURES}
            tell = await play(page, f"market:{key}", {"type": "market_state", "data": {"market": market}})
            await page.route(f"**/markets/{key}", first_refused)
            await page.goto(f"/markets/{key}")
            await expect(page.locator("[data-link]")).to_have_text("live")
            await expect(page.locator("#part-title")).to_have_text("Trade")
            await pool.execute(_RESOLVING, key)
            tell()
            await expect(page.locator("#part-title")).to_have_text("Dispute")
            assert refused == 2
    await pool.close()


async def test_a_card_is_after_a_message_what_a_reload_shows(database_url: str, redis_url: str) -> None:
    """P8: the change of a day follows the price, up and down, and one trader more makes them traders."""
    pool = await Pool.open(database_url, size=2)
    key = await add_market(pool, 1, price_e9=500_000_000)
    with server(database_url, redis_url, PUBLIC_WS_URL=SOCKET) as here:
        async with chromium() as browser, reader(browser, here) as page:
            card = page.locator(".card")
            for price_e9, traders, change in (
                (800_500_000, 2, "+30.1"),
                (449_500_000, 1, "−5.1"),
                (500_000_000, 1234, "±0.0"),
            ):
                prices = {
                    "current_price_yes": price_text(price_e9),
                    "current_price_no": price_text(10**9 - price_e9),
                }
                market = {"market_id": key, "state": "ACTIVE", **_FIGURES, **prices, "traders": traders}
                message = {"type": "market_state", "data": {"market": market}}
                subscribed = asyncio.Event()
                tell = await play(page, "markets", message, subscribed=subscribed)
                await page.goto("/")
                await expect(card.locator("[data-change]")).not_to_have_text(change)
                await subscribed.wait()
                await pool.execute("UPDATE markets SET price_yes_e9 = $1, traders = $2", price_e9, traders)
                tell()
                await expect(card.locator("[data-change]")).to_have_text(change)
                live, kind = await card.inner_text(), await card.locator(".change").get_attribute("class")
                await page.reload()
                assert live == await card.inner_text()
                assert str(kind).split() == str(await card.locator(".change").get_attribute("class")).split()
    await pool.close()


async def test_a_card_that_left_its_filtered_list_is_not_traded_there(
    database_url: str, redis_url: str
) -> None:
    """The list, its number of markets and the sentence of an empty list are those of a reload."""
    pool = await Pool.open(database_url, size=2)
    keys = [await add_market(pool, number) for number in (1, 2)]
    messages = [
        {"type": "market_state", "data": {"market": {"market_id": key, "state": "RESOLVING", **_FIGURES}}}
        for key in keys
    ]
    with server(database_url, redis_url, PUBLIC_WS_URL=SOCKET) as here:
        async with chromium() as browser, reader(browser, here) as page:
            for left in (1, 0):
                subscribed = asyncio.Event()
                tell = await play(page, "markets", messages[left], subscribed=subscribed)
                await page.goto("/?state=ACTIVE")
                await expect(page.locator(".card")).to_have_count(left + 1)
                await subscribed.wait()
                await pool.execute(_RESOLVING, keys[left])
                tell()
                await expect(page.locator(".card")).to_have_count(left)
                await expect(page.locator("h1 small")).to_have_text(str(left))
            await expect(page.get_by_text("No market matches that.")).to_be_visible()
            await expect(page.get_by_text("Buy YES")).to_have_count(0)
    await pool.close()


async def test_a_resolver_can_fetch_a_debt_from_an_empty_pool(database_url: str, redis_url: str) -> None:
    """Only the market's account shows what it owes to its resolver, so the page lets the resolver ask."""
    pool = await Pool.open(database_url, size=2)
    key = await add_market(pool, 1, "FINALIZED", final_outcome=True, finalized_at=datetime.now(UTC))
    await pool.execute(
        "UPDATE markets SET current_liquidity = 0, resolver = $2 WHERE market_id = $1", key, address(2)
    )
    await pool.close()
    with server(database_url, redis_url) as here:
        async with chromium() as browser, reader(browser, here) as page:
            await standard_wallet.install(page, wallet(2))
            await page.goto(f"/markets/{key}")
            withdraw = page.get_by_role("button", name="Withdraw")
            await expect(withdraw).to_be_hidden()
            await standard_wallet.connect(page)
            await expect(withdraw).to_be_visible()
            await expect(withdraw).to_be_enabled()


async def test_a_dispute_whose_reason_was_not_posted_is_called_a_dispute(
    database_url: str, redis_url: str
) -> None:
    """The server does not answer to the comment: to try the whole again would be refused."""
    pool = await Pool.open(database_url, size=2)
    key = await add_market(pool, 1, "RESOLVING", proposed_at=datetime.now(UTC))
    await pool.close()
    message = Message.new_with_blockhash([], wallet(2).pubkey(), Hash.default())
    built = {
        "transaction": base64.b64encode(bytes(Transaction.new_unsigned(message))).decode(),
        "simulation": {"ok": True},
    }
    signature = str(wallet(2).sign_message(bytes(message)))
    landed = {"signature": signature, "status": "landed", "slot": 7}
    with server(database_url, redis_url) as here:
        async with chromium() as browser, reader(browser, here) as page:
            await standard_wallet.install(page, wallet(2))
            await page.route("**/api/markets/*/dispute", lambda route: route.fulfill(json=built))
            await page.route("**/api/transactions*", lambda route: route.fulfill(json=landed))
            await page.route("**/api/transactions/*", lambda route: route.fulfill(json=landed))
            await page.route("**/api/discussions", lambda route: route.abort())
            await page.goto(f"/markets/{key}")
            await standard_wallet.connect(page)
            await page.get_by_label("Why it is wrong").fill("It froze in 1963.")
            await page.get_by_role("button", name="Dispute the outcome").click()
            status = page.locator("[data-part] [data-status]")
            await expect(status).to_contain_text(
                "Disputed, but the reason was not posted: The server does not answer"
            )
            await expect(status.get_by_role("link")).to_have_attribute("href", f"/transactions/{signature}")


async def test_a_dispute_is_offered_no_more_once_its_time_ends_on_an_open_page(
    database_url: str, redis_url: str
) -> None:
    """P7: by the chain's clock, not by the reader's, which may be wrong: what is being written then stays."""
    now = datetime.now(UTC)
    pool = await Pool.open(database_url, size=2)
    await rows.add_config(pool, address_of(ADMIN))
    key = await add_market(pool, 1, "RESOLVING", proposed_at=now)
    asked = asyncio.Queue[str]()
    with server(database_url, redis_url, PUBLIC_WS_URL=SOCKET) as here:
        async with chromium() as browser, reader(browser, here) as page:
            await page.clock.install(time=now)
            await page.goto(f"/markets/{key}")
            page.on("requestfinished", lambda request: asked.put_nowait(request.url))
            button = page.get_by_role("button", name="Dispute the outcome")
            over = page.get_by_text("The time to dispute it ended")
            await expect(page.locator("[data-countdown]")).to_contain_text("left)")
            await page.get_by_label("Why it is wrong").fill("It never froze.")
            await page.clock.fast_forward(timedelta(days=30) // timedelta(milliseconds=1))
            while not (await asked.get()).endswith(f"/markets/{key}"):
                pass
            await expect(button).to_be_enabled()
            await expect(over).to_have_count(0)
            assert await page.get_by_label("Why it is wrong").input_value() == "It never froze."
            await rows.change_market(pool, key, resolution_proposed_at=now - timedelta(days=30))
            await page.clock.fast_forward(120_000)
            await expect(over).to_be_visible()
            await expect(button).to_be_disabled()
            await expect(page.get_by_text("It can be disputed until")).to_have_count(0)
    await pool.close()


async def test_a_vote_that_is_over_is_offered_again_on_an_open_page_once_it_is_held_open(
    database_url: str, redis_url: str
) -> None:
    """P7: too few votes came in time, so that the monitor lets voting go on."""
    now = datetime.now(UTC)
    pool = await Pool.open(database_url, size=2)
    key = await add_market(pool, 1, "DISPUTED", proposed_at=now)
    await rows.change_market(pool, key, dispute_initiated_at=now - timedelta(days=30))
    await rows.index_through(pool, Settings(_env_file=None).solana_program_id_core, 777, tip=777)
    await pool.execute(_INDEXED_NOW)
    with server(database_url, redis_url, PUBLIC_WS_URL=SOCKET) as here:
        async with chromium() as browser, reader(browser, here) as page:
            await page.clock.install(time=now)
            await page.goto(f"/markets/{key}")
            word = page.locator('[data-ballot="dispute"] .bar .quiet')
            await expect(page.get_by_text("The time to vote ended")).to_be_visible()
            for choice in ("It is wrong", "It is right"):
                await expect(page.get_by_role("button", name=choice)).to_be_disabled()
            await expect(word).to_have_text("closed")
            await pool.execute(_HELD_OPEN, key)
            await page.clock.fast_forward(120_000)
            await expect(word).to_have_text("open")
            for choice in ("It is wrong", "It is right"):
                await expect(page.get_by_role("button", name=choice)).to_be_enabled()
    await pool.close()


async def test_a_refused_field_is_named_as_the_form_names_it(database_url: str, redis_url: str) -> None:
    """P7: the sentence has the label of the field instead of the API's name, and amounts in SOL alone."""
    with server(database_url, redis_url) as here:
        async with chromium() as browser, reader(browser, here) as page:
            await standard_wallet.install(page, wallet(2))
            await page.route("**/balance", lambda route: route.fulfill(json={"lamports": 10**9}))
            await page.goto("/new")
            await connect(page)
            await page.get_by_label("Question").fill("Will the river freeze?")
            await page.get_by_label("Liquidity, SOL").fill("0.001")
            await page.get_by_role("button", name="Propose").click()
            status = page.locator("[data-propose] [data-status]")
            await expect(status).to_have_text("Liquidity must be at least 0.006931472 SOL.")
            await page.goto(f"/wallets/{address(2)}")
            await page.get_by_label("Handle on X").fill("no such")
            await page.get_by_role("button", name="Save the profile").click()
            status = page.locator("[data-profile] [data-status]")
            await expect(status).to_have_text("Handle on X must be letters, digits and _.")


async def test_a_market_may_end_today_wherever_its_proposer_is(database_url: str, redis_url: str) -> None:
    """P20: west of UTC today is the day before that of UTC, and the market ends at the end of the local day."""
    with server(database_url, redis_url) as here:
        async with (
            chromium() as browser,
            reader(browser, here, timezone_id="America/Los_Angeles") as page,
        ):
            await page.clock.set_fixed_time(datetime(2026, 12, 1, 1, 0, tzinfo=UTC))
            await page.goto("/new")
            ends = page.locator("[name=ends]")
            await expect(ends).to_have_value("2026-12-30")
            for day, is_valid in (("2026-11-30", True), ("2026-11-29", False)):
                await ends.fill(day)
                assert await ends.evaluate("field => field.checkValidity()") is is_valid, day


async def test_a_comment_covers_no_other_one_and_is_no_higher_than_a_screen(
    database_url: str, redis_url: str
) -> None:
    """P20: comments of an earlier release that would be refused or shortened now, on a phone and without scripts."""
    pool = await Pool.open(database_url, size=2)
    key = await add_market(pool, 1)
    for age, content in enumerate(("Below.", "a" + "\u0335\u0301" * 400, "Above.", "a" + "\n" * 998 + "b")):
        await pool.execute(
            "INSERT INTO discussions (market_id, wallet, content, created_at) "
            "VALUES ($1, $2, $3, now() - $4 * interval '1 minute')", key, address(2), content, age,
        )  # fmt: skip
    await pool.close()
    with server(database_url, redis_url) as here:
        async with (
            chromium() as browser,
            reader(browser, here, viewport=PHONE, java_script_enabled=False) as page,
        ):
            await page.goto(f"/markets/{key}")
            comments = page.locator(".comment")
            await expect(comments).to_have_count(4)
            for number in range(4):
                box = await comments.nth(number).bounding_box()
                assert box is not None
                assert box["height"] < PHONE["height"], number
            # The style is read, since the fonts of a test machine may draw all marks at one place.
            marked = page.locator(".comment p", has_text="\u0335")
            overflow = await marked.evaluate("paragraph => getComputedStyle(paragraph).overflow")
            assert overflow == "hidden auto"


async def test_a_wallet_whose_position_cannot_be_read_may_claim_and_one_that_left_is_forgotten(
    database_url: str, redis_url: str
) -> None:
    """P5: the page asks again by itself, and keeps the figures that it has of this wallet, and of no other."""
    pool = await Pool.open(database_url, size=2)
    key = await add_market(pool, 1, "FINALIZED", final_outcome=True, finalized_at=datetime.now(UTC))
    await add_position(pool, key, address(2), 3 * 10**9, 0, 10**9)
    await pool.close()
    fails = True

    async def position(route: Route) -> None:
        await (route.fulfill(status=500, json={"message": "No answer."}) if fails else route.continue_())

    with server(database_url, redis_url) as here:
        async with chromium() as browser, reader(browser, here) as page:
            await standard_wallet.install(page, wallet(2))
            await page.route("**/balance", lambda route: route.fulfill(json={"lamports": 10**9}))
            await page.route("**/api/users/*/positions/*", position)
            await page.goto(f"/markets/{key}")
            claimable, claim = page.locator("[data-claimable]"), page.get_by_role("button", name="Claim")
            before = await claimable.text_content() or ""
            await standard_wallet.connect(page)
            await expect(claimable).to_have_text("What this wallet holds cannot be read now.")
            await expect(claim).to_be_enabled()
            fails = False
            await expect(claimable).to_have_text("This wallet can claim 3.000 SOL.")
            fails = True
            await page.evaluate("document.dispatchEvent(new CustomEvent('zmart:wallet'))")
            await expect(claimable).to_have_text("What this wallet holds cannot be read now.")
            await expect(page.locator("[data-mine]")).to_contain_text("3.00 shares")
            await expect(claim).to_be_enabled()
            await page.get_by_role("button", name="Disconnect").click()
            await expect(claimable).to_have_text(before)
            await expect(page.locator("[data-mine]")).to_be_hidden()
            await expect(claim).to_be_enabled()


async def test_a_trade_that_left_the_chain_leaves_the_open_page(database_url: str, redis_url: str) -> None:
    """Its row goes, and the chart and the holders are read again."""
    now = datetime.now(UTC).replace(second=1, microsecond=0)
    pool = await Pool.open(database_url, size=2)
    key = await add_market(
        pool, 1, activated_at=now - timedelta(hours=2), created_at=now - timedelta(hours=3)
    )
    signature = await add_trade(pool, key, address(2), 1, cost=5 * 10**9, at=now)
    trade = {
        "id": f"{signature}:0", "action": "deleted", "trade_type": "buy", "outcome": "YES", "shares": 1000,
        "cost": 5 * 10**9, "price_after": "0.510000000", "user_wallet": address(2), "tx_signature": signature,
        "created_at": now.isoformat(),
    }  # fmt: skip

    def renews(request: Request) -> bool:
        return request.resource_type == "fetch" and request.url.endswith(f"/markets/{key}")

    with server(database_url, redis_url, PUBLIC_WS_URL=SOCKET) as here:
        async with chromium() as browser, reader(browser, here) as page:
            tell = await play(page, f"market:{key}", {"type": "trade", "data": trade})
            await page.clock.set_fixed_time(now)
            await page.goto(f"/markets/{key}")
            await expect(page.locator("[data-link]")).to_have_text("live")
            chart = page.locator("[data-chart-note]")
            await expect(chart).to_contain_text("5.000 SOL traded")
            await expect(page.locator("[data-tape] tr")).to_have_count(1)
            await pool.execute("DELETE FROM trades")
            async with page.expect_request(renews):
                tell()
                await expect(page.locator("[data-tape] tr")).to_have_count(0)
                await expect(page.get_by_text("No trades yet.")).to_be_visible()
                await expect(chart).not_to_contain_text("traded")
    await pool.close()


async def test_a_market_that_left_the_chain_leaves_the_list(database_url: str, redis_url: str) -> None:
    pool = await Pool.open(database_url, size=2)
    key = await add_market(pool, 1)
    await add_market(pool, 2)
    subscribed = asyncio.Event()
    gone = {"action": "deleted", "market": {"market_id": key, "state": "ACTIVE"}}
    with server(database_url, redis_url, PUBLIC_WS_URL=SOCKET) as here:
        async with chromium() as browser, reader(browser, here) as page:
            message = {"type": "market_state", "data": gone}
            tell = await play(page, "markets", message, subscribed=subscribed)
            await page.goto("/")
            await expect(page.locator(".card")).to_have_count(2)
            await subscribed.wait()
            await pool.execute("DELETE FROM markets WHERE market_id = $1", key)
            tell()
            await expect(page.locator(".card")).to_have_count(1)
            await expect(page.locator("h1 small")).to_have_text("1")
    await pool.close()


async def test_replies_of_others_stay_when_the_comment_above_them_is_deleted(
    database_url: str, redis_url: str
) -> None:
    """They take its place, the newest first; a reply to it that is being written becomes a comment."""
    pool = await Pool.open(database_url, size=2)
    key = await add_market(pool, 1)
    first = await pool.fetchval(_INSERT, key, address(2), "It will.", None, 9)
    for minutes in (5, 3):
        await pool.fetchval(_INSERT, key, address(3), f"Answer {minutes}", first, minutes)
    comment = {"id": str(first), "user_wallet": address(2), "content": None, "parent_id": None,
               "created_at": "2026-01-01T00:00:00.000Z"}  # fmt: skip
    deleted = {"type": "discussion", "data": {"action": "deleted", "discussion": comment}}
    with server(database_url, redis_url, PUBLIC_WS_URL=SOCKET) as here:
        async with chromium() as browser, reader(browser, here) as page:
            tell = await play(page, f"market:{key}", deleted)
            await page.goto(f"/markets/{key}")
            await expect(page.locator("[data-link]")).to_have_text("live")
            await page.get_by_role("button", name="Reply").first.click()
            await expect(page.locator("[data-replying]")).to_be_visible()
            await pool.execute("UPDATE discussions SET deleted_at = now() WHERE id = $1", first)
            tell()
            await expect(page.get_by_text("It will.")).to_have_count(0)
            await expect(page.locator("[data-replying]")).to_be_hidden()
            live = await page.locator(".talk").inner_text()
            assert "a reply" in live
            await page.reload()
            assert await page.locator(".talk").inner_text() == live
    await pool.close()


async def test_a_comment_is_gone_once_the_page_says_that_it_was_deleted(
    database_url: str, redis_url: str
) -> None:
    """Also on an older page of the discussion, and without the live feed; the last one leaves an empty discussion."""
    pool = await Pool.open(database_url, size=2)
    key, other = await add_market(pool, 1), await add_market(pool, 2)
    for number in range(30):
        await pool.fetchval(_INSERT, key, address(2), f"Comment {number}.", None, number)
    await pool.fetchval(_INSERT, other, address(2), "The only comment.", None, 1)
    await pool.close()
    with server(database_url, redis_url) as here:
        async with chromium() as browser, reader(browser, here) as page:
            await standard_wallet.install(page, wallet(2))
            await page.route("**/balance", lambda route: route.fulfill(json={"lamports": 10**9}))

            async def delete(text: str) -> None:
                comment = page.locator(".comment", has_text=text)
                await comment.get_by_role("button", name="Delete").click()
                await comment.get_by_role("button", name="Delete it?").click()
                await expect(page.locator("[data-comment] [data-status]")).to_have_text("Comment deleted.")
                await expect(comment).to_have_count(0)

            await page.goto(f"/markets/{key}")
            await page.get_by_role("link", name="Older comments").click()
            await standard_wallet.connect(page)
            await delete("Comment 27.")
            await expect(page.get_by_text("No comments yet.")).to_be_hidden()
            await page.goto(f"/markets/{other}")
            await delete("The only comment.")
            await expect(page.get_by_text("No comments yet.")).to_be_visible()


async def test_what_is_written_while_a_comment_is_posted_stays(database_url: str, redis_url: str) -> None:
    pool = await Pool.open(database_url, size=2)
    key = await add_market(pool, 1)
    await pool.close()
    requested, answered = asyncio.Event(), asyncio.Event()

    async def late(route: Route) -> None:
        requested.set()
        await answered.wait()
        await route.fulfill(json={})

    with server(database_url, redis_url) as here:
        async with chromium() as browser, reader(browser, here) as page:
            await standard_wallet.install(page, wallet(2))
            await page.route("**/balance", lambda route: route.fulfill(json={"lamports": 10**9}))
            await page.route("**/api/discussions", late)
            await page.goto(f"/markets/{key}")
            await standard_wallet.connect(page)
            field, post = page.locator("#say"), page.get_by_role("button", name="Comment", exact=True)
            status = page.locator("[data-comment] [data-status]")
            await field.fill("It will.")
            await post.click()
            await requested.wait()
            await field.fill("And soon.")
            answered.set()
            await expect(status).to_have_text("Comment posted.")
            await expect(field).to_have_value("And soon.")
            await expect(post).to_be_enabled()
            await post.click()
            await expect(field).to_have_value("")
