"""Tests of the HTML pages and of the API's published description."""

from __future__ import annotations

import html
import json
import re
from datetime import UTC, datetime, timedelta
from typing import get_args

import jinja2
import msgspec
import pytest

from kit import rows
from kit.gateway import (
    NOW,
    Site,
    add_market,
    add_position,
    add_trade,
    ballot,
    site,
)
from kit.waiting import begin_within_a_window
from kit.wallets import address, market_id, wallet
from zmart.market import events
from zmart.market.types import ChainTime, MarketId, Wallet
from zmart.services.gateway.explorer import assets, sitemap
from zmart.store import markets

_VOTE = """
INSERT INTO votes (market_id, kind, wallet, choice, proven, statement, signature, log_index)
VALUES ($1, 'proposal', $2, CASE WHEN $3::boolean THEN 'for' ELSE 'against' END, true, 's', 's', $4)
"""
_SNAPSHOT = """
INSERT INTO ipfs_anchors (market_id, kind, snapshot_day, cid, comments_count, size_bytes, provider, pinned_at)
VALUES ($1, 'snapshot', $2::timestamptz::date, 'bafysnapshot', 3, 2048, 'local', $2)
"""
_CLOSING = """
INSERT INTO vote_closings (market_id, kind, closed_at, closed_slot, log_size, voting_over) VALUES ($1, $2, 1, 1, 0, $3)
"""
_TRANSACTION = """
INSERT INTO chain_transactions (signature, slot, failed, finality, event_count) VALUES ($1, 7, false, 'finalized', 1)
"""
_EVENT = """
INSERT INTO chain_events (signature, ordinal, slot, index_in_block, name, market_id, event)
VALUES ($1, $4, 7, 0, $5, $2, $3::jsonb)
"""


async def test_pages_show_markets_wallets_and_talk_without_script(database_url: str, redis_url: str) -> None:
    async with site(database_url, redis_url, public_ws_url="wss://live.example/ws") as here:
        key = await add_market(here.pool, 1, question="Will <b>rain</b> fall & stay?", price_e9=612_000_000)
        await add_trade(here.pool, key, address(2), 1, price_e9=612_000_000)
        await add_position(here.pool, key, address(2), 10**9, 0, 6 * 10**8)
        token = await here.sign_in(wallet(2))
        await here.post("/api/discussions", {"content": "<script>alert(1)</script>", "market_id": key}, token)
        index = await here.get("/")
        assert index.headers["content-type"].startswith("text/html")
        assert "Will &lt;b&gt;rain&lt;/b&gt; fall &amp; stay?" in index.text
        assert "61.2" in index.text
        market = (await here.get(f"/markets/{key}")).text
        assert "&lt;script&gt;alert(1)&lt;/script&gt;" in market
        assert "<script>" not in market
        assert '<path d="M' in market
        who = (await here.get(f"/wallets/{address(2)}")).text
        assert "0.612" in who
        policy = index.headers["content-security-policy"]
        assert "connect-src 'self' wss://live.example" in policy
        assert "unsafe" not in policy
        loaded = re.sub(
            r'<link rel="canonical"[^>]*>', "", index.text + market
        )  # the browser reads nothing from this address
        assert not re.search(r"style=|\son\w+=|(?:src|<link[^>]* href)=.https?:", loaded)


async def test_the_list_pages_on_and_the_search_finds_markets_and_wallets(database_url: str) -> None:
    async with site(database_url) as here:
        for number in range(35):
            await add_market(here.pool, number, question=f"Is this question number {number}?")
        first = (await here.get("/")).text
        following = re.search(r'href="(/\?[^"]*cursor=[^"]+)"', first)
        assert following is not None
        second = (await here.get(following[1].replace("&amp;", "&"))).text
        assert second.count('class="card"') == 11
        to_market = await here.get(f"/find?q={market_id(3)}")
        assert (to_market.status_code, to_market.headers["location"]) == (303, f"/markets/{market_id(3)}")
        for text in (market_id(99), market_id(99).upper()):
            assert (await here.get(f"/find?q={text}")).headers["location"] == f"/markets/{market_id(99)}"
        assert (await here.get(f"/find?q={address(99)}")).headers["location"] == f"/wallets/{address(99)}"
        assert "number 7?" in (await here.get("/find?q=number 7")).text


async def test_the_filters_of_a_search_narrow_what_it_found(database_url: str) -> None:
    """P8: on /find too, whose form leads to the list with the words that were searched for."""
    async with site(database_url) as here:
        await add_market(here.pool, 1, question="Will the river freeze?", category="weather")
        await add_market(here.pool, 2, question="Will the river team win?", category="sports")
        page = (await here.get("/find?q=river")).text
        assert len(re.findall('<li class="card"', page)) == 2
        form = re.search(r'<form class="filters"[^>]*>.*?</form>', page, re.DOTALL)
        assert form is not None
        action = re.search(r'action="([^"]*)"', form[0])
        hidden = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', form[0]))
        chosen = {**hidden, "category": "sports", "sort": "newest"}
        narrowed = await here.get(action[1] if action else "/find", params=chosen)
        assert re.findall(r"Will the river [a-z ]+\?", narrowed.text) == ["Will the river team win?"]


async def test_a_page_that_is_not_there_is_a_page(database_url: str) -> None:
    async with site(database_url) as here:
        answer = await here.get(f"/markets/{market_id(1)}", headers={"accept": "text/html"})
        assert answer.status_code == 404
        assert "There is no market" in answer.text
        assert answer.headers["content-type"].startswith("text/html")


async def test_everything_of_a_page_comes_from_here_and_is_kept_until_it_changes(database_url: str) -> None:
    async with site(database_url) as here:
        key = await add_market(here.pool, 1)
        text = (await here.get(f"/markets/{key}")).text + (await here.get("/")).text
        named = set(re.findall(r'(?:src|href)="(/static/[^"]+)"', text))
        assert len(named) >= 6
        for address_ in named:
            answer = await here.get(address_)
            assert answer.status_code == 200
            assert "immutable" in answer.headers["cache-control"]
        style = next(address_ for address_ in named if address_.endswith("css/pages.css"))
        of_another_version = await here.get(style.replace(style.split("/")[2], "0123456789ab"))
        assert (of_another_version.status_code, of_another_version.headers["cache-control"]) == (
            200,
            "no-cache",
        )
        for bad in (
            "x/render.py",
            "x/..%2Frender.py",
            "x/nothing.css",
            "x/vendor/THIRD_PARTY.md",
            "css/pages.css",
        ):
            assert (await here.get(f"/static/{bad}")).status_code == 404


async def test_a_market_shows_votes_against_their_threshold_life_holders_and_snapshots(
    database_url: str,
) -> None:
    async with site(database_url, min_proposal_votes=10) as here:
        key = await add_market(here.pool, 1, "PROPOSED", activated_at=None)
        await add_position(here.pool, key, address(3), 2 * 10**9, 0, 10**9)
        for number, vote in ((2, True), (3, True), (4, False)):
            await here.pool.execute(_VOTE, key, address(number), vote, number)
        await here.pool.execute(_SNAPSHOT, key, NOW)
        page = (await here.get(f"/markets/{key}")).text
        assert re.search(r"<b data-for>2</b> for", page)
        assert re.search(r"<span data-share>66.66</span>%</b> <span class=\"quiet\">of 70% needed", page)
        assert 'x1="70.0"' in page
        assert "<span data-total>3 votes</span>; minimum 10." in page
        assert "2.00" in page
        assert "bafysnapshot" in page
        assert "Not traded yet" in page


async def test_related_markets_say_how_they_ended(database_url: str) -> None:
    """P8: a finished market shows outcome and final price wherever markets are listed, a disputed one its state."""
    async with site(database_url) as here:
        key = await add_market(here.pool, 1)
        final = {"price_e9": 534_000_000, "finalized_at": NOW}
        other = await add_market(here.pool, 2, question="Will the pier hold?", price_e9=612_000_000)
        await add_market(
            here.pool, 3, "FINALIZED", question="Did the mast hold?", final_outcome=False, **final
        )
        await add_market(here.pool, 4, "FINALIZED", question="Did the sail hold?", **final)
        await add_market(here.pool, 5, "DISPUTED", question="Did the rope hold?", price_e9=450_000_000)
        await add_market(here.pool, 6, "CANCELLED", question="Was there a storm?", activated_at=None)
        page = (await here.get(f"/markets/{key}")).text
        found = re.search(r"Related markets.*?</ul>", page, re.DOTALL)
        assert found is not None
        assert f'href="/markets/{other}"' in found[0]
        assert key not in found[0]
        text = " ".join(re.sub(r"<[^>]+>", " ", found[0]).split())
        for line in ("Will the pier hold? 61.2% YES", "Did the mast hold? NO won · final price 53.4% YES",
                     "Did the sail hold? INVALID no outcome · final price 53.4% YES",
                     "Did the rope hold? disputed 45.0% YES"):  # fmt: skip
            assert line in text
        assert "storm" not in text


async def test_the_list_shows_how_a_market_ended_and_how_a_price_moves(database_url: str) -> None:
    """P8: an ended market shows outcome and final price without a gauge, a traded one its prices and 24-hour change."""
    async with site(database_url) as here:
        traded = await add_market(here.pool, 1, price_e9=612_000_000, ends_at=NOW + timedelta(days=9))
        now = datetime.now(UTC)
        await add_trade(here.pool, traded, address(2), 1, price_e9=550_000_000, at=now - timedelta(days=2))
        await add_trade(here.pool, traded, address(2), 2, price_e9=612_000_000, at=now)
        await add_market(
            here.pool, 2, "FINALIZED", final_outcome=False, finalized_at=NOW, price_e9=534_000_000
        )
        await add_market(here.pool, 3, "FINALIZED", finalized_at=NOW)
        await add_market(here.pool, 4, "CANCELLED", activated_at=None)
        cards = re.findall(r'<li class="card".*?</li>', (await here.get("/")).text, re.DOTALL)
        cancelled, invalid, no, active = (re.sub(r"<[^>]+>|\s+", " ", card) for card in cards)
        assert "Buy YES 61.2 %" in " ".join(active.split())
        assert "Buy NO 38.8 %" in " ".join(active.split())
        assert "+6.2 24 h" in " ".join(active.split())
        assert "Ends 24 Jan 2026" in " ".join(active.split())
        assert "NO won · final price 53.4% YES" in " ".join(no.split())
        assert "INVALID no outcome" in " ".join(invalid.split())
        assert "Cancelled never traded" in " ".join(cancelled.split())
        for ended in cards[:3]:
            assert "data-gauge" not in ended
            assert "Buy " not in ended


@pytest.mark.parametrize(
    ("model", "outcome", "pays"),
    [
        ("reference", True, "YES won. Each of its shares pays 1 SOL."),
        ("reference", None, "INVALID: each share pays half a SOL."),
        ("v069", True, "YES won. Its shares divide the pool."),
        ("v069", None, "INVALID: each wallet gets what it invested."),
    ],
)
async def test_a_final_market_says_what_its_shares_pay_by_the_configured_program(
    database_url: str, model: str, outcome: bool | None, pays: str
) -> None:
    async with site(database_url, pricing_model=model) as here:
        key = await add_market(here.pool, 1, "FINALIZED", final_outcome=outcome, finalized_at=NOW)
        text = re.sub(r"<[^>]+>", "", (await here.get(f"/markets/{key}")).text)
        assert pays in " ".join(text.split())


@pytest.mark.parametrize(
    ("model", "state", "pool_sol", "claimed_sol", "note", "possible"),
    [
        ("reference", "FINALIZED", 7, 0, "can withdraw 3.000 SOL, which no claim can need.", True),
        ("reference", "FINALIZED", 6, 2, "can withdraw 4.000 SOL, which no claim can need.", True),
        ("reference", "FINALIZED", 4, 0, "The 4.000 SOL in the pool are for claims.", False),
        ("reference", "FINALIZED", 0, 4, "The pool is empty: its creator has withdrawn.", False),
        ("reference", "CANCELLED", 7, 0, "can withdraw 7.000 SOL, which no claim can need.", True),
        ("v069", "FINALIZED", 7, 0, "account holds, open claims included.", True),
        ("v069", "FINALIZED", 0, 0, "The pool is empty: its creator has withdrawn.", False),
        ("v069", "CANCELLED", 7, 0, None, False),
    ],
)
async def test_a_withdrawal_is_offered_where_the_program_makes_it(
    database_url: str,
    model: str,
    state: str,
    pool_sol: int,
    claimed_sol: int,
    note: str | None,
    possible: bool,
) -> None:
    """P9: on both pages. Four shares of YES won; v0.69 pays nothing from a cancelled market."""
    async with site(database_url, pricing_model=model) as here:
        is_final = state == "FINALIZED"
        key = await add_market(
            here.pool, 1, state, shares=(4 * 10**9, 10**9) if is_final else (0, 0),
            final_outcome=True if is_final else None, finalized_at=NOW if is_final else None,
        )  # fmt: skip
        await here.pool.execute(
            "UPDATE markets SET current_liquidity = $2, claimed_shares = $3, "
            "cancelled_at = CASE state WHEN 'CANCELLED' THEN now() END WHERE market_id = $1",
            key, pool_sol * 10**9, claimed_sol * 10**9,
        )  # fmt: skip
        page = (await here.get(f"/markets/{key}")).text
        form = re.search(r"<form data-withdraw.*?</form>", page, re.S)
        assert (form is None) is (note is None)
        if form is not None:
            assert note is not None
            assert note in form[0]
            assert ("disabled" not in form[0]) is possible
        creator = (await here.get(f"/api/markets/{key}")).json()["creator"]
        waiting = re.search(
            r"Withdrawals waiting.*?</section>", (await here.get(f"/wallets/{creator}")).text, re.S
        )
        assert (waiting is not None) is possible
        if waiting is not None:
            assert key in waiting[0]
            amount = f"{pool_sol if model == 'v069' else pool_sol + claimed_sol - 4 * is_final}.000 SOL"
            assert amount in waiting[0]


async def test_a_withdrawal_is_listed_however_many_newer_markets_are_empty(database_url: str) -> None:
    async with site(database_url) as here:
        keys = [
            await add_market(here.pool, number, "FINALIZED", final_outcome=True, finalized_at=NOW)
            for number in range(1, 54)
        ]
        await here.pool.execute(
            "UPDATE markets SET current_liquidity = CASE market_id WHEN $1 THEN 3000000000 ELSE 0 END",
            keys[0],
        )
        creator = (await here.get(f"/api/markets/{keys[0]}")).json()["creator"]
        page = (await here.get(f"/wallets/{creator}")).text
        assert re.search(rf"Withdrawals waiting.*?{keys[0]}.*?3\.000 SOL", page, re.DOTALL)


async def test_replies_stand_below_their_comment_and_claims_wait_at_the_wallet(
    database_url: str, redis_url: str
) -> None:
    async with site(database_url, redis_url) as here:
        key = await add_market(here.pool, 1, "FINALIZED", final_outcome=True, finalized_at=NOW)
        await add_position(here.pool, key, address(2), 3 * 10**9, 0, 10**9)
        token = await here.sign_in(wallet(2))
        body = {"market_id": key, "content": "First"}
        first = (await here.post("/api/discussions", body, token)).json()["discussion"]["id"]
        await here.post("/api/discussions", {**body, "content": "Second"}, token)
        await here.post("/api/discussions", {**body, "content": "Echo", "parent_id": first}, token)
        text = (await here.get(f"/markets/{key}")).text
        assert text.index("Second") < text.index("First") < text.index("Echo")
        assert re.search(rf'id="comment-{first}".*?<ol class="replies"[^>]*><li.*?Echo', text, re.DOTALL)
        held = (await here.get(f"/wallets/{address(2)}")).text
        assert re.search(r"Claims waiting.*?3\.000 SOL", held, re.DOTALL)


@pytest.mark.parametrize(
    ("model", "sentence", "untrue"),
    [
        ("reference", "It leaves your wallet now.", "nothing is deposited"),
        ("v069", "none of it leaves your wallet.", "leaves your wallet now"),
        ("v069", "nothing is deposited.", "comes back to you"),
    ],
)
async def test_the_form_of_a_proposal_says_whether_the_configured_program_takes_a_deposit(
    database_url: str, model: str, sentence: str, untrue: str
) -> None:
    """P20: in v0.69 the liquidity is a number, and no lamport of it moves."""
    async with site(database_url, pricing_model=model) as here:
        text = (await here.get("/new")).text
        assert sentence in text
        assert untrue not in text


async def test_the_activity_leads_to_a_page_that_shows_the_comment(database_url: str, redis_url: str) -> None:
    """P20: of 30 comments of a market, whose page shows 25."""
    async with site(database_url, redis_url) as here:
        key = await add_market(here.pool, 1)
        for age in range(30):
            await here.pool.execute(
                "INSERT INTO discussions (market_id, wallet, content, created_at) "
                "VALUES ($1, $2, $3, now() - $4 * interval '1 minute')", key, address(2), f"comment {age}.", age,
            )  # fmt: skip
        page = (await here.get("/activity?kind=discussion")).text
        links = re.findall(r'href="(/markets/[^"#]*)#(comment-[^"]*)"', page)
        assert len(links) == 30
        for path, comment in links:
            comments = re.findall(r'<li class="comment" id="([^"]*)"', (await here.get(path)).text)
            assert comment in comments
        newest, oldest = [(await here.get(links[at][0])).text for at in (0, -1)]
        assert ("data-talk" in newest, "data-talk" in oldest) == (True, False), (
            "new comments appear on the first page"
        )


_OLD_CLAIM = """
UPDATE positions SET last_trade_at = last_trade_at - interval '9 days',
    first_trade_at = first_trade_at - interval '9 days'
"""
_NEWER_POSITIONS = """
INSERT INTO positions SELECT (jsonb_populate_record(p, jsonb_build_object('market_id', m.market_id,
    'last_trade_at', p.last_trade_at + interval '8 days'))).* FROM positions p, markets m WHERE m.state = 'ACTIVE'
"""


async def _has_an_old_claim(here: Site, newer: int) -> MarketId:
    """Let wallet 2 hold 3 shares that won, and positions in `newer` markets that it traded in later."""
    key = await add_market(here.pool, 999, "FINALIZED", final_outcome=True, finalized_at=NOW)
    await add_position(here.pool, key, address(2), 3 * 10**9, 0, 10**9)
    await here.pool.execute(_OLD_CLAIM)
    await rows.add_markets(
        here.pool, [rows.market_fold(market_id(n), "ACTIVE", question_cid="x") for n in range(1, newer + 1)]
    )
    await here.pool.execute(_NEWER_POSITIONS)
    return key


async def test_a_claim_waits_however_many_positions_are_newer(database_url: str) -> None:
    """P9: on the page of its wallet, which leads to the positions that it does not list."""
    async with site(database_url) as here:
        key = await _has_an_old_claim(here, 101)
        first = (await here.get(f"/wallets/{address(2)}")).text
        assert re.search(rf"Claims waiting.*?{key}.*?3\.000 SOL.*?</section>", first, re.DOTALL)
        positions = first[first.index('id="positions"') :]
        assert "Positions 1 to 100, the most recently traded first: there are more." in positions
        assert key not in positions
        older = re.search(r'<a href="(\?positions=[^"]*)#positions">Older positions', positions)
        assert older is not None
        second = (await here.get(f"/wallets/{address(2)}{older[1]}")).text
        positions = second[second.index('id="positions"') :]
        assert "Positions 101 to 102, the most recently traded first." in positions
        assert key in positions
        assert "Older positions" not in positions
        assert re.search(rf"Claims waiting.*?{key}", second, re.DOTALL)


async def test_claims_beyond_the_hundred_largest_are_announced(database_url: str) -> None:
    async with site(database_url) as here:
        key = await _has_an_old_claim(here, 100)
        await here.pool.execute(
            "UPDATE markets SET state = 'FINALIZED', final_outcome = 'yes', finalized_at = now()"
        )
        await here.pool.execute("UPDATE positions SET shares_yes = 1000 WHERE market_id <> $1", key)
        page = (await here.get(f"/wallets/{address(2)}")).text
        claims = page[page.index("Claims waiting") : page.index('id="positions"')]
        assert claims.count("<li>") == 100
        assert key in claims.split("</li>")[0]
        assert "These are the 100 largest: more claims wait." in claims


async def test_the_lists_of_wallets_and_of_what_happened_are_pages(database_url: str) -> None:
    async with site(database_url) as here:
        key = await add_market(here.pool, 1, question="Will the pier hold?")
        await add_trade(here.pool, key, address(2), 1)
        await add_position(here.pool, key, address(2), 1000, 0, 600)
        leaders = (await here.get("/leaderboard?window=all&by=volume")).text
        assert f'href="/wallets/{address(2)}"' in leaders
        activity = (await here.get("/activity?kind=trade")).text
        assert "Will the pier hold?" in activity
        assert "buy YES" in activity
        assert "No trades" not in activity
        assert (await here.get("/portfolio")).status_code == 200
        for path in ("/leaderboard?by=beauty", "/activity?kind=weather"):
            assert (await here.get(path)).status_code == 400


async def _panel(here: Site, key: MarketId) -> tuple[str, list[str]]:
    """Return the text of a market's panel of actions, and its buttons of a vote or a dispute."""
    page = (await here.get(f"/markets/{key}")).text
    panel = re.search(r'<section class="panel part".*?</section>', page, re.DOTALL)
    assert panel is not None
    form = re.search(r"<form data-(?:vote|dispute).*?</form>", panel[0], re.DOTALL)
    assert form is not None
    visible = re.sub(r"<p[^>]* hidden>.*?</p>", "", panel[0], flags=re.DOTALL)
    return " ".join(re.sub(r"<[^>]+>", "", visible).split()), re.findall(r"<button[^>]*>", form[0])


async def _ballot_word(here: Site, key: MarketId) -> str:
    page = (await here.get(f"/markets/{key}")).text
    word = re.search(r'class="panel ballot".*?<span class="quiet"[^>]*>(\w+)</span>', page, re.DOTALL)
    assert word is not None
    return word[1]


@pytest.mark.parametrize(
    ("left_s", "sentence"),
    [(3600, "It can be disputed until"), (-1, "The time to dispute it ended")],
)
async def test_a_dispute_is_offered_until_the_program_refuses_it(
    database_url: str, left_s: int, sentence: str
) -> None:
    """P7: by GlobalConfig's dispute period, whatever the gateway's own DISPUTE_WINDOW_HOURS is."""
    async with site(database_url, dispute_window_hours=240) as here:
        period_s = await here.pool.fetchval("SELECT dispute_period FROM program_config")
        proposed = datetime.now(UTC) + timedelta(seconds=left_s - period_s)
        key = await add_market(here.pool, 1, "RESOLVING", proposed_at=proposed)
        text, (button,) = await _panel(here, key)
        assert sentence in text
        assert ("disabled" in button) is (left_s < 0)
        assert ("data-closes" in (await here.get(f"/markets/{key}")).text) is (left_s > 0)


@pytest.mark.parametrize(
    ("left_s", "closing", "sentence", "is_open"),
    [
        (3600, None, "Votes count until", True),
        (-60, None, "The time to vote ended", False),
        (-60, False, "with too few votes: votes count until there are enough.", True),
        (-60, True, "If no vote counts, voting will go on.", False),
    ],
)
async def test_a_vote_on_a_dispute_is_offered_while_the_api_accepts_it(
    database_url: str, left_s: int, closing: bool | None, sentence: str, is_open: bool
) -> None:
    """P7: by chain time, and beyond the end where the monitor holds the vote open for more votes."""
    async with site(database_url) as here:
        began = datetime.now(UTC) + timedelta(hours=-72, seconds=left_s)
        key = await add_market(here.pool, 1, "DISPUTED", proposed_at=began - timedelta(hours=1))
        await rows.change_market(here.pool, key, dispute_initiated_at=began)
        await here.pool.execute(
            "UPDATE index_progress SET final_time = extract(epoch FROM now())::bigint, scanned_at = now()"
        )
        if closing is not None:
            await here.pool.execute(_CLOSING, key, "dispute", closing)
        text, buttons = await _panel(here, key)
        assert sentence in text
        assert [("disabled" in button) for button in buttons] == [not is_open] * 2
        assert await _ballot_word(here, key) == ("open" if is_open else "closed")
        answer = await here.post("/api/votes/dispute", ballot(here, wallet(2), key, kind="dispute"))
        assert (answer.status_code == 201) is is_open, answer.text


@pytest.mark.parametrize(
    ("age_days", "is_closed", "sentence"),
    [
        (1, False, "Votes count until"),
        (400, False, "votes count until its rejection is recorded."),
        (400, True, "Voting on this proposal has ended: no further vote counts."),
    ],
)
async def test_a_vote_on_a_proposal_is_offered_until_the_aggregator_ends_it(
    database_url: str, age_days: int, is_closed: bool, sentence: str
) -> None:
    async with site(database_url) as here:
        created = datetime.now(UTC) - timedelta(days=age_days)
        key = await add_market(here.pool, 1, "PROPOSED", created_at=created, activated_at=None)
        if is_closed:
            await here.pool.execute(_CLOSING, key, "proposal", True)
        text, buttons = await _panel(here, key)
        assert sentence in text
        assert [("disabled" in button) for button in buttons] == [is_closed] * 2
        assert await _ballot_word(here, key) == ("closed" if is_closed else "open")
        answer = await here.post("/api/votes/proposal", ballot(here, wallet(2), key))
        assert (answer.status_code == 201) is not is_closed, answer.text


async def test_other_sites_and_search_engines_are_told_where_and_what_a_market_is(database_url: str) -> None:
    async with site(database_url, public_api_url="https://markets.example/") as here:
        key = await add_market(here.pool, 1, question='Will "it" rain?', price_e9=612_000_000)
        text = (await here.get(f"/markets/{key}")).text
        assert (
            f'<meta property="og:image" content="https://markets.example/markets/{key}/picture.png">' in text
        )
        assert '<meta property="og:title" content="Will &#34;it&#34; rain?">' in text
        assert "61.2% YES" in text
        picture = await here.get(f"/markets/{key}/picture.png")
        assert picture.headers["content-type"] == "image/png"
        assert picture.content.startswith(b"\x89PNG")
        policy = "cross-origin-resource-policy"
        assert picture.headers.get_list(policy) == ["cross-origin"], "other sites show it"
        assert (await here.get(f"/markets/{key}")).headers.get_list(policy) == ["same-origin"]
        assert (await here.get(f"/markets/{market_id(9)}/picture.png")).status_code == 404
        assert "Sitemap: https://markets.example/sitemap.xml" in (await here.get("/robots.txt")).text
        assert f"<loc>https://markets.example/markets/{key}</loc>" in (await here.get("/sitemap.xml")).text
        assert (await here.get("/favicon.ico")).content.startswith(b"\x89PNG")


async def test_the_sitemap_is_composed_once_for_the_hour_that_it_promises(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To compose it from 5,000 markets takes 22 ms of the event loop, which anyone could repeat without end."""
    reads = []
    entries = markets.entries

    async def counted(*arguments: object) -> object:
        reads.append(arguments)
        return await entries(*arguments)

    monkeypatch.setattr(markets, "entries", counted)
    async with site(database_url, public_api_url="https://markets.example/") as here:
        key = await add_market(here.pool, 1)
        answers = [await here.get("/sitemap.xml") for _ in range(3)]
        assert len(reads) == 1
        assert len({answer.content for answer in answers}) == 1
        assert f"<loc>https://markets.example/markets/{key}</loc>" in answers[0].text
        assert answers[0].headers["cache-control"] == f"public, max-age={sitemap.FRESH_S}"


async def test_a_large_file_is_compressed_for_clients_that_accept_it(database_url: str) -> None:
    """Whatever is sent, a shared cache is told that it depends on Accept-Encoding."""
    async with site(database_url) as here:
        path = assets.address("vendor/scalar/standalone.js")
        plain = await here.get(path, headers={"accept-encoding": "identity, gzip;q=0"})
        small = await here.get(path, headers={"accept-encoding": "br;q=1.0, gzip;q=0.5"})
        listed = [("accept-encoding", "br"), ("accept-encoding", "gzip")]
        in_two_lines = await here.http.get(path, headers=listed)
        assert plain.headers.get("content-encoding") is None
        assert [each.headers["content-encoding"] for each in (small, in_two_lines)] == ["gzip", "gzip"]
        assert plain.content == small.content == in_two_lines.content
        assert int(small.headers["content-length"]) < int(plain.headers["content-length"])
        assert {each.headers["vary"] for each in (plain, small, in_two_lines)} == {plain.headers["vary"]}
        assert "Accept-Encoding" in plain.headers["vary"]


async def test_long_tapes_are_read_on_by_cursor(database_url: str) -> None:
    async with site(database_url) as here:
        key = await add_market(here.pool, 1)
        for slot in range(1, 31):
            await add_trade(here.pool, key, address(2), slot)
        for path in (f"/markets/{key}", f"/wallets/{address(2)}"):
            first = (await here.get(path)).text
            older = re.search(r'href="(\?trades=[^#"]+)#trades"', first)
            assert older is not None
            second = (await here.get(path + older[1])).text
            assert len(re.findall(r"buy YES", first)) == 25
            assert len(re.findall(r"buy YES", second)) == 5


async def test_a_transaction_is_told_in_words_from_the_index(database_url: str) -> None:
    async with site(database_url) as here:
        key = await add_market(here.pool, 1, question="Will the pier hold?")
        signature = await add_trade(here.pool, key, address(2), 7)
        await here.pool.execute(_TRANSACTION, signature)
        event = {"event": "SharesBought", "market_id": key, "user": address(2), "outcome": True, "shares": 2 * 10**9,
                 "cost": 1_100_000_000, "new_price_yes": 510_000_000, "timestamp": 1}  # fmt: skip
        await here.pool.execute(_EVENT, signature, key, json.dumps(event), 0, "SharesBought")
        page = (await here.get(f"/transactions/{signature}")).text
        assert "Bought: 2.00 YES for 1.100 SOL" in page
        assert "Will the pier hold?" in page
        assert "1100000000" in page
        result = await here.get(f"/find?q={signature}")
        assert (result.status_code, result.headers["location"]) == (303, f"/transactions/{signature}")
        assert (await here.get("/transactions/nonsense")).status_code == 404


async def test_a_cut_log_breaks_no_page_and_nothing_is_made_up_for_it(database_url: str) -> None:
    """A truncated log breaks no page, and no amount or state is invented for it.

    Any user can make a node truncate the log of their own transaction.
    """
    async with site(database_url) as here:
        key, signature = await add_market(here.pool, 1), "5" * 87
        instructions = get_args(events.UnloggedInstruction)
        await here.pool.execute(_TRANSACTION, signature)
        for ordinal, instruction in enumerate(instructions):
            lost = events.Unlogged(
                instruction=instruction,
                market_id=MarketId(key),
                user=Wallet(address(9)),
                arguments={},
                timestamp=ChainTime(1_700_000_000),
            )
            name, body = events.kind_of(lost).__name__, msgspec.json.encode(lost).decode()
            await here.pool.execute(_EVENT, signature, key, body, ordinal, name)
        page = await here.get(f"/transactions/{signature}")
        assert (page.status_code, page.text.count("the node truncated its log")) == (200, len(instructions))
        assert (await here.get(f"/markets/{key}")).status_code == 200
        reported = (await here.get(f"/api/markets/{key}/timeline")).json()["timeline"]
        assert {row["event"] for row in reported} > {"DisputeAggregated", "LiquidityWithdrawn"}
        for entry in reported:
            assert (entry["state"], entry["actor"]) == (None, address(9))
            assert "amount" not in entry["details"]


async def test_a_withdrawal_of_a_debt_is_not_called_one_of_liquidity(database_url: str) -> None:
    """A19: a withdrawal by the resolver or the fee wallet is shown as reward or fees, not as liquidity.

    The creator withdraws liquidity by the same instruction.
    """
    async with site(database_url) as here:
        key, signature = await add_market(here.pool, 1), "5" * 87
        creator = (await here.get(f"/api/markets/{key}")).json()["creator"]
        await here.pool.execute(_TRANSACTION, signature)
        for ordinal, (who, amount) in enumerate([(creator, 4 * 10**9), (address(9), 5 * 10**8)]):
            event = {
                "event": "LiquidityWithdrawn",
                "market_id": key,
                "creator": who,
                "amount": amount,
                "timestamp": 1,
            }
            await here.pool.execute(_EVENT, signature, key, json.dumps(event), ordinal, "LiquidityWithdrawn")
        page = (await here.get(f"/transactions/{signature}")).text
        assert "Liquidity withdrawn: 4.000 SOL" in page
        assert "Reward or fees withdrawn: 0.500 SOL" in page
        market = (await here.get(f"/markets/{key}")).text
        assert "Liquidity withdrawn</a>" in market
        assert "Reward or fees withdrawn</a>" in market
        reported = (await here.get(f"/api/markets/{key}/timeline")).json()["timeline"]
        assert [(row["details"]["is_debt"], row["actor"]) for row in reported] == [
            (False, creator),
            (True, address(9)),
        ]


@pytest.mark.parametrize(("env", "chain"), [("devnet", "solana:devnet"), ("production", "solana:mainnet")])
async def test_outside_of_the_local_stack_wallets_trade_and_there_is_no_demo_wallet(
    database_url: str, env: str, chain: str
) -> None:
    async with site(
        database_url, zmart_env=env, helius_webhook_secret="what Helius echoes, of 32 characters"
    ) as here:
        key = await add_market(here.pool, 1)
        for path in ("/", f"/markets/{key}", f"/wallets/{address(2)}", "/new"):
            text = (await here.get(path)).text
            assert "data-local" not in text
            assert "demo wallet" not in text
            assert "/dashboard" not in text
            assert f'data-chain="{chain}"' in text
        assert 'data-part="ACTIVE"' in (await here.get(f"/markets/{key}")).text
        unknown = await here.post("/api/nothing/at/all", {})
        for answer in (
            await here.post("/api/local/faucet", {"wallet": address(2)}),
            await here.get("/api/local/faucet"),
            await here.get(f"/api/local/wallets/{address(2)}"),
        ):
            assert answer.status_code == 404
            assert answer.json()["message"] == unknown.json()["message"]


async def test_the_local_faucet_says_what_is_wrong(database_url: str) -> None:
    async with site(database_url) as here:
        assert (await here.post("/api/local/faucet", {"wallet": "nobody"})).status_code == 400
        assert (await here.post("/api/local/faucet", {})).status_code == 400
        away = await here.post("/api/local/faucet", {"wallet": address(2)})
        assert away.status_code == 503
        assert "SOLANA_RPC_URL" in away.json()["message"]
        begin_within_a_window()
        for _ in range(40):
            answer = await here.post("/api/local/faucet", {"wallet": address(2)})
        assert answer.status_code == 429
        assert "faucet" in answer.json()["message"]
        assert int(answer.headers["retry-after"]) <= 60
        assert "faucet" not in (await here.get("/api/openapi.json")).text


async def test_the_published_description_is_openapi_and_names_every_endpoint(database_url: str) -> None:
    async with site(database_url) as here:
        schema = (await here.get("/api/openapi.json")).json()
        assert schema["openapi"].startswith("3.1")
        calls = {(method, path) for path, item in schema["paths"].items() for method in item}
        expected = {
            ("get", "/api/markets"), ("post", "/api/markets"), ("get", "/api/markets/{key}"),
            ("post", "/api/markets/{key}/approve"), ("post", "/api/markets/{key}/activate"),
            ("post", "/api/markets/{key}/resolve"), ("post", "/api/markets/{key}/cancel"),
            ("post", "/api/markets/{key}/dispute"), ("post", "/api/trades/buy"), ("post", "/api/trades/sell"),
            ("post", "/api/trades/claim"), ("post", "/api/trades/withdraw"), ("post", "/api/votes/proposal"),
            ("post", "/api/votes/dispute"), ("get", "/api/discussions/{key}"), ("post", "/api/discussions"),
            ("post", "/api/discussions/{key}"), ("delete", "/api/discussions/{key}"),
            ("get", "/api/discussions/{key}/snapshots"), ("get", "/api/users/{wallet}"),
            ("put", "/api/users/{wallet}"), ("get", "/api/users/{wallet}/stats"), ("post", "/api/auth/nonce"),
            ("post", "/api/auth/verify"), ("post", "/api/auth/logout"), ("post", "/api/transactions"),
            ("get", "/api/transactions/{signature}"), ("get", "/api/votes/{key}/proof"), ("get", "/api/status"),
            ("get", "/api/events/latest"), ("get", "/api/search"), ("get", "/api/leaderboard"),
        }  # fmt: skip
        assert calls >= expected
        for path, item in schema["paths"].items():
            for operation in item.values():
                assert operation.get("description"), path
                assert operation["responses"]["503"]["content"]
        for path in ("/docs", "/docs/plain"):
            docs = (await here.get(path)).text
            assert "/api/trades/buy" in docs
            assert "max_cost" in docs
            assert "http" not in re.sub(r"https?://www\.w3\.org|http-equiv", "", docs).split("<main")[0]


@pytest.mark.parametrize("path", ["/docs", "/docs/plain", "/docs/socket"])
async def test_every_type_and_section_of_a_reference_page_leads_somewhere(
    database_url: str, path: str
) -> None:
    """P14: each link within a reference page has its target in the page, without scripts."""
    async with site(database_url) as here:
        text = (await here.get(path)).text
        targets = set(re.findall(r'href="#([^"]+)"', text))
        anchors = set(re.findall(r'id="([^"]+)"', text))
        assert len([target for target in targets if target.startswith("shape-")]) > 10
        assert targets <= anchors


@pytest.mark.parametrize("path", ["/docs", "/docs/plain", "/docs/socket"])
async def test_a_reference_page_is_rendered_once_however_often_it_is_read(
    database_url: str, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A8: a reference page is rendered once in a process: it has no rate limit, and a rendering takes 20 ms."""
    rendered: list[str | None] = []
    render = jinja2.Template.render

    def counted(template: jinja2.Template, *arguments: object, **values: object) -> str:
        rendered.append(template.name)
        return render(template, *arguments, **values)

    monkeypatch.setattr(jinja2.Template, "render", counted)
    async with site(database_url) as here:
        texts = {(await here.get(path)).text for _ in range(5)}
        assert len(texts) == 1
        assert len(rendered) <= 1  # none if an earlier gateway of this process has rendered it


async def test_a_call_is_shown_with_its_refusals_and_samples(database_url: str) -> None:
    async with site(database_url) as here:
        [_, buy] = (await here.get("/docs/plain")).text.split('id="Buy"')
        buy = html.unescape(buy.partition("</details>")[0])
        assert "<dt>409</dt>" in buy
        assert "curl -s" in buy
        assert "-X POST" in buy
        assert 'await api.post("/api/trades/buy"' in buy
        socket = (await here.get("/docs/socket")).text
        assert here.gateway.context.socket_url in socket
        assert 'id="Subscribe"' in socket


@pytest.mark.parametrize("address", ["https://api.zmart.example", ""])
async def test_every_sample_of_a_call_names_the_address_of_this_gateway(
    database_url: str, address: str
) -> None:
    """PUBLIC_API_URL, or without it the host and port of this process: in samples of TypeScript and of curl alike."""
    async with site(database_url, public_api_url=address, bind_host="127.0.0.1", api_port=4321) as here:
        served = address or "http://127.0.0.1:4321"
        schema = (await here.get("/api/openapi.json")).json()
        found = [
            sample["source"]
            for item in schema["paths"].values()
            for operation in item.values()
            for sample in operation["x-codeSamples"]
        ]
        assert len(found) > 50
        assert all(f'new ZmartClient("{served}")' in source for source in found)
        text = html.unescape((await here.get("/docs/plain")).text)
        assert text.count(f"'{served}/") == len(found)
        assert "127.0.0.1:4000" not in text


async def test_only_the_reference_by_scalar_may_have_styles_of_its_own(database_url: str) -> None:
    async with site(database_url) as here:
        policies = {
            path: (await here.get(path)).headers["content-security-policy"]
            for path in ("/docs", "/docs/plain", "/")
        }
        assert ["unsafe-inline" in policy for policy in policies.values()] == [True, False, False]
        assert all("script-src 'self';" in policy for policy in policies.values())


async def test_answers_agree_with_the_published_description(database_url: str) -> None:
    async with site(database_url) as here:
        key = await add_market(here.pool, 1)
        await add_trade(here.pool, key, address(2), 1, at=NOW)
        schema = (await here.get("/api/openapi.json")).json()
        for path in (
            "/api/markets/{key}/trades",
            "/api/markets",
            "/api/status",
            "/api/markets/{key}/holders",
        ):
            body = (await here.get(path.replace("{key}", key))).json()
            promised = schema["paths"][path]["get"]["responses"]["200"]["content"]["application/json"][
                "schema"
            ]
            named = schema["components"]["schemas"][promised["$ref"].rpartition("/")[2]]
            assert set(named["properties"]) == set(body)
