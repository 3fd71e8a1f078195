"""Tests of the dashboard: its remedies are the runbook's text, and each action needs the operator's token."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest
from pydantic import SecretStr

from kit import rows
from kit.decisions import Scene
from kit.raw_client import connected, listening, request
from kit.runbook import section
from kit.services import running_service
from kit.waiting import until
from kit.wallets import market_id
from zmart.market.types import MarketState
from zmart.ops.dashboard import Dashboard
from zmart.ops.probes import Probes
from zmart.ops.runbook import remedies, remedy_of
from zmart.services import monitor
from zmart.services.connection_bounds import ConnectionBounds
from zmart.services.contract import AsgiApp, ProbeMiddleware
from zmart.settings import Settings, load_settings
from zmart.store import alerts, intents, market_work
from zmart.store.intents import Action
from zmart.store.market_work import Job
from zmart.store.pool import Pool

TOKEN = "the-operators-token-of-32-characters"
MARKET = market_id(7)


class OtherRoutes:
    """A stand-in for the gateway's own application: it answers every request with 299."""

    name = "gateway"

    def asgi(self, probes: ProbeMiddleware) -> AsgiApp:
        async def application(scope, receive, send) -> None:
            await send({"type": "http.response.start", "status": 299, "headers": []})
            await send({"type": "http.response.body", "body": b""})

        return probes(application)


@asynccontextmanager
async def _client(settings: Settings) -> AsyncIterator[httpx.AsyncClient]:
    probes = Probes(OtherRoutes(), Dashboard(settings))
    try:
        transport = httpx.ASGITransport(app=probes)
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway", timeout=30) as http:
            yield http
    finally:
        await probes.close()


@pytest.fixture
async def http(database_url: str) -> AsyncIterator[httpx.AsyncClient]:
    async with _client(load_settings(database_url=database_url, operator_token=TOKEN)) as client:
        yield client


async def _act(http: httpx.AsyncClient, **fields: str) -> httpx.Response:
    return await http.post("/dashboard/act", data={"token": TOKEN, **fields})


# ---------------------------------------------------------------------------------------------------------- remedies


@pytest.mark.parametrize(
    ("key", "begins"),
    [
        (f"failing:dispute:{MARKET}", "read the error. A program error names its rule."),
        ("payer low:11111111111111111111111111111111", "send it SOL."),
        ("silent:indexer", "its log says why (<code>zmart ps</code>"),
        ("uncertain:0b7d7f1e-5f0e-4f0e-9c0e-3a1f6a1c2d3e", "look for the signature in an explorer"),
        ("stuck markets", "PROPOSED: too few votes."),
        ("nothing:like:this", ""),
    ],
)
def test_an_alert_is_shown_with_what_the_runbook_says(key: str, begins: str) -> None:
    assert str(remedy_of(key)).startswith(begins)
    assert bool(remedy_of(key)) is bool(begins)


def test_every_row_of_the_runbook_is_found_and_nothing_of_it_is_markup() -> None:
    lines = [line for line in section("Alerts").splitlines() if line.startswith("| `")]
    assert len(remedies()) >= len(lines) > 20
    assert not [text for text in remedies().values() if "](" in text or "`" in text]


async def test_alerts_stalled_markets_and_intents_are_shown_with_step_link_and_action(
    http: httpx.AsyncClient, pool: Pool
) -> None:
    await rows.add_markets(pool, [rows.market_fold(MARKET, "RESOLVING")])
    await alerts.raise_alert(pool, f"failing:finalize:{MARKET}", "critical", "it <failed>")
    await market_work.failed(pool, MARKET, Job.FINALIZE, "ChainError: no answer")
    intent = await intents.plan(pool, MARKET, Action.FINALIZE_MARKET, 0, {})
    await pool.execute("UPDATE intents SET state = 'uncertain', signature = 'sig' WHERE id = $1", intent.id)
    await pool.execute(
        "INSERT INTO inbox (signature, source, slot, state, last_error) VALUES ('dead', 'scan', 5, 'dead', 'why')"
    )
    page = (await http.get("/dashboard")).text
    assert "it &lt;failed&gt;" in page
    assert "<code>zmart finalize &lt;market&gt;</code> tries at once" in page
    assert f'href="/markets/{MARKET}"' in page
    assert "finalize_market: uncertain" in page
    assert f"action=decide&amp;target={MARKET}" in page
    assert f"action=resolve&amp;target={intent.id}" in page
    assert "action=replay&amp;target=1" in page


# --------------------------------------------------------------------------------------------------------- the token


async def test_without_the_token_nothing_is_done(http: httpx.AsyncClient, pool: Pool) -> None:
    await market_work.failed(pool, MARKET, Job.FINALIZE, "an error")
    before = await market_work.of_market(pool, MARKET)
    for token in ("", "x", TOKEN[:-1], TOKEN + "x", "ä"):
        answer = await _act(http, action="decide", target=MARKET, token=token)
        assert answer.status_code == 403
        assert "token" in answer.text
        assert TOKEN not in answer.text
    assert await market_work.of_market(pool, MARKET) == before


async def test_a_gateway_without_a_token_lets_nobody_act(database_url: str) -> None:
    async with _client(load_settings(database_url=database_url)) as http:
        for token in ("", "x"):
            answer = await _act(http, action="decide", target=MARKET, token=token)
            assert (answer.status_code, "OPERATOR_TOKEN is not set" in answer.text) == (403, True)


async def test_a_page_of_another_site_cannot_act_or_frame(http: httpx.AsyncClient) -> None:
    answer = await http.get("/dashboard/act", params={"action": "decide", "target": MARKET})
    assert answer.status_code == 200
    policy = answer.headers["content-security-policy"]
    assert "form-action 'self'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "set-cookie" not in answer.headers
    assert "refresh" not in answer.headers, "it would take away what was typed"


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({}, 400),
        ({"action": "sell", "target": "x"}, 400),
        ({"action": "decide", "target": "x" * 101}, 400),
        ({"action": "decide", "target": "<script>"}, 400),
        ({"action": "resolve", "target": "not-a-uuid", "outcome": "landed", "reason": "r"}, 400),
        ({"action": "resolve", "target": "0b7d7f1e-5f0e-4f0e-9c0e-3a1f6a1c2d3e", "outcome": "sent"}, 400),
        (
            {"action": "resolve", "target": "0b7d7f1e-5f0e-4f0e-9c0e-3a1f6a1c2d3e", "outcome": "landed", "reason": "r"},
            404,
        ),
        ({"action": "decide", "target": "x", **{f"f{n}": "1" for n in range(9)}}, 400),
        ({"action": "decide", "target": "x", "reason": "r" * 9_000}, 400),
    ],
    ids=["nothing", "unknown", "long", "markup", "no uuid", "no outcome", "no intent", "many fields", "large"],
)  # fmt: skip
async def test_a_wrong_request_is_refused_with_a_sentence(
    http: httpx.AsyncClient, fields: dict[str, str], status: int
) -> None:
    answer = await _act(http, **fields)
    assert answer.status_code == status, answer.text
    assert '<p role="alert" class="bad">' in answer.text
    assert "<script>" not in answer.text


async def test_other_methods_and_paths_belong_to_the_gateway(http: httpx.AsyncClient) -> None:
    assert (await http.post("/dashboard")).status_code == 299
    assert (await http.put("/dashboard/act")).status_code == 299
    assert (await http.get("/dashboard/other")).status_code == 299


# ------------------------------------------------------------------------------------------------------- the actions


async def test_an_intent_is_resolved_as_by_the_command(http: httpx.AsyncClient, pool: Pool) -> None:
    intent = await intents.plan(pool, MARKET, Action.FINALIZE_MARKET, 0, {})
    await pool.execute("UPDATE intents SET state = 'uncertain' WHERE id = $1", intent.id)
    await alerts.raise_alert(pool, f"uncertain:{intent.id}", "critical", "unknown")
    fields = {"action": "resolve", "target": str(intent.id), "reason": "seen in slot 9"}
    unconfirmed = await _act(http, **fields, outcome="dead")
    assert (unconfirmed.status_code, "Confirm" in unconfirmed.text) == (400, True)
    assert (await intents.one(pool, intent.id)).state.value == "uncertain"
    assert (await _act(http, **fields, outcome="landed")).status_code == 200
    row = await intents.one(pool, intent.id)
    assert (row.state.value, row.error) == ("landed", "seen in slot 9")
    assert await alerts.open_alerts(pool) == []
    assert (await _act(http, **fields, outcome="landed")).status_code == 409


async def test_a_dead_letter_is_replayed(http: httpx.AsyncClient, pool: Pool) -> None:
    await pool.execute(
        "INSERT INTO inbox (signature, source, slot, state) VALUES"
        " ('s1', 'scan', 5, 'dead'), ('s2', 'scan', 5, 'dead'), ('s3', 'scan', 5, 'dead')"
    )
    assert "1 transactions are tried again now." in (await _act(http, action="replay", target="s1")).text
    assert "2 transactions are tried again now." in (await _act(http, action="replay", target="all")).text
    assert await pool.fetchval("SELECT count(*) FROM inbox WHERE state = 'dead'") == 0


async def test_a_due_market_is_shown_and_finalized_at_once_when_asked(scene: Scene) -> None:
    """An operator's request wakes the monitor, whose schedule would run next on 1 January."""
    market = await scene.resolving()
    await scene.travel(3 * 86_400 + 60)
    settings = scene.with_settings(monitor_cron="0 0 1 1 *", operator_token=SecretStr(TOKEN))
    service = await monitor.create(settings)
    async with running_service(service), _client(settings) as http:
        await market_work.failed(scene.pool, market, Job.FINALIZE, "an error")
        await until(lambda: _listens(scene.pool))
        answer = await _act(http, action="decide", target=market)
        assert answer.status_code == 200, answer.text

        async def finalized() -> bool:
            return await scene.state(market) is MarketState.FINALIZED

        await until(finalized)


async def _listens(pool: Pool) -> bool:
    """Return whether a service listens to PostgreSQL for requested ticks."""
    sessions = await pool.fetch("SELECT query FROM pg_stat_activity WHERE query ILIKE 'LISTEN %'")
    return any(market_work.TICK_CHANNEL in row["query"] for row in sessions)


UNSEEN = {
    "NUL": "a\0b",
    "a control": "a\x01b",
    "an escape": "\x1b[31mred",
    "reordered": "a\u202eb",
    "unseen": "\u200b",
}


@pytest.mark.parametrize("text", UNSEEN.values(), ids=UNSEEN)
@pytest.mark.parametrize("action", ["decide", "resolve", "replay"])
async def test_text_that_cannot_be_stored_is_refused_with_a_sentence(
    http: httpx.AsyncClient, pool: Pool, action: str, text: str
) -> None:
    """W11, W28: text with control, reordering or invisible characters is refused with 400, and changes nothing."""
    intent = await intents.plan(pool, MARKET, Action.FINALIZE_MARKET, 0, {})
    await pool.execute("UPDATE intents SET state = 'uncertain', signature = 'sig' WHERE id = $1", intent.id)
    targeted = await _act(http, action=action, target=text)
    assert (targeted.status_code, 'role="alert"' in targeted.text) == (400, True)
    reasoned = await _act(http, action="resolve", target=str(intent.id), outcome="landed", reason=text)
    assert (reasoned.status_code, "reason" in reasoned.text) == (400, True)
    assert (await intents.one(pool, intent.id)).state is intents.IntentState.UNCERTAIN


@pytest.mark.parametrize("encoded", ["%ff", "%ed%a0%80", "%c0%80", "\xff"], ids=ascii)
async def test_a_form_that_is_not_utf_8_is_refused_with_a_sentence(
    http: httpx.AsyncClient, encoded: str
) -> None:
    """W11: a form that is not UTF-8 is refused with 400, in each posted field and in the query of the page."""
    for field in ("target", "reason", "outcome", "token", "action"):
        form = f"{field}={encoded}&" + "&".join(
            f"{name}={value}"
            for name, value in {"action": "replay", "target": "all", "token": TOKEN}.items()
            if name != field
        )
        posted = await http.post("/dashboard/act", content=form.encode("latin-1"))
        assert (posted.status_code, "not UTF-8" in posted.text) == (400, True)
        if encoded.isascii():
            shown = await http.get(f"/dashboard/act?{form}")
            assert (shown.status_code, "not UTF-8" in shown.text) == (400, True)


async def test_a_form_that_does_not_arrive_is_408_and_ends_the_connection(database_url: str) -> None:
    """A15: a form that does not arrive in time is answered with 408, and its connection ends."""
    probes = Probes(OtherRoutes(), Dashboard(load_settings(database_url=database_url, operator_token=TOKEN)))
    bounds = ConnectionBounds(body_within_s=0.2, check_s=0.05)
    try:
        async with listening(probes, bounds) as port, connected(port) as client:
            client.writer.write(request("/dashboard/act", "Content-Length: 100\r\n", "POST") + b"action=")
            status, headers, body = await client.answer()
            assert (status, headers["connection"]) == (408, "close")
            assert b"did not arrive in time" in body
            assert await client.is_closed()
    finally:
        await probes.close()
