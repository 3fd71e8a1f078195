"""Render the operator's dashboard as HTML without scripts; the browser reloads it every 5 s."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import parse_qs

import jinja2

from zmart.errors import StoreError
from zmart.market.types import ChainTime
from zmart.ops.action_page import ActionPage
from zmart.ops.chart_drawing import HEIGHT, WIDTH, draw
from zmart.ops.dashboard_rows import cards, first_trouble, service_rows
from zmart.ops.disk import full_disk
from zmart.ops.figure_series import SPANS_S, charts
from zmart.ops.process_cards import process_cards
from zmart.ops.runbook import remedy_of
from zmart.services.contract import Receive, Scope, Send
from zmart.services.plain_http import Header, path_of, send_response
from zmart.settings import Settings
from zmart.store import figure_history, market_work
from zmart.store.figure_history import MINUTE_S, QUARTER_S
from zmart.store.market_work import DueFinalization
from zmart.store.overview import Overview, overview
from zmart.store.pool import Pool
from zmart.store.time_limit import answer_within
from zmart.votes.policy import deadlines_of

PATH, ACTION_PATH = "/dashboard", "/dashboard/act"
_WITHIN_S = 1.5
_REFRESH_S = b"5"
_MOST_DUE = 20
_CSP = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
_HEADERS = ((b"content-security-policy", _CSP.encode()), (b"x-content-type-options", b"nosniff"))


class Dashboard:
    """Render the dashboard from the database, and a page with the reason while the database is unavailable."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._pool = Pool(settings.require("database_url"), size=2, wait_s=1.0)
        environment = jinja2.Environment(
            loader=jinja2.FileSystemLoader(Path(__file__).parent / "pages"),
            autoescape=True,
            auto_reload=False,
        )
        environment.globals.update(remedy_of=remedy_of, width=WIDTH, height=HEIGHT)
        self._template = environment.get_template("dashboard.html")
        token = settings.operator_token.get_secret_value()
        self._actions = ActionPage(self._pool, token, environment.get_template("action.html"))

    async def close(self) -> None:
        """Close the database connections."""
        await self._pool.close()

    async def page(self, query: str = "") -> tuple[int, str]:
        """Return the HTTP status and the HTML page: 200, or 503 with the reason when the database cannot be read.

        `query` is the URL's query: with `span=day` the charts show the last day, else the last hour.
        """
        now = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S")
        step_s = QUARTER_S if parse_qs(query).get("span") == ["day"] else MINUTE_S
        try:
            async with answer_within(_WITHIN_S):
                state = await overview(self._pool)
                due = await self._due(state)
                history = await figure_history.read(self._pool, step_s, SPANS_S[step_s] + step_s)
        except StoreError as problem:
            return 503, self._unavailable(str(problem), now)
        services = service_rows(state.reported, state.silence)
        trouble = full_disk(self._settings.zmart_home) or first_trouble(state, services)
        return 200, self._template.render(
            healthy=not trouble,
            trouble=trouble,
            now=now,
            services=services,
            cards=cards(state.figures, state.markets),
            alerts=state.alerts,
            stalled=state.stalled,
            due=due,
            intents=state.intents,
            dead_letters=state.dead_letters,
            is_day=step_s == QUARTER_S,
            process=process_cards(),
            charts=[draw(chart) for chart in charts(history, step_s, time.time())],
        )

    async def _due(self, state: Overview) -> list[DueFinalization]:
        """Return at most 20 markets that the monitor finalizes with its next tick, by the chain time of the index.

        The list is empty if the index has no chain time or no GlobalConfig yet.
        """
        chain_time, dispute_period_s = state.figures.chain_time, state.figures.dispute_period_s
        is_none_open = state.markets.keys().isdisjoint(("RESOLVING", "DISPUTED"))
        if chain_time is None or dispute_period_s is None or is_none_open:
            return []
        deadlines = deadlines_of(self._settings, dispute_period_s)
        acts_before = chain_time - deadlines.safety_s
        return await market_work.finalizations_due(
            self._pool,
            ChainTime(acts_before - deadlines.resolution_s),
            ChainTime(acts_before - deadlines.dispute_s),
            _MOST_DUE,
        )

    def _unavailable(self, reason: str, now: str) -> str:
        trouble = f"{full_disk(self._settings.zmart_home)} {reason}".strip()
        return self._template.render(healthy=False, trouble=trouble, now=now, process=process_cards())

    async def answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request for the dashboard or for the page of an action."""
        if path_of(scope) == ACTION_PATH:
            status, page = await self._actions.answer(scope, receive)
            refresh: tuple[Header, ...] = ()  # a reload would delete what the operator typed
        else:
            status, page = await self.page(scope["query_string"].decode("latin-1"))
            refresh = ((b"refresh", _REFRESH_S),)
        await send_response(send, status, page.encode(), "text/html; charset=utf-8", (*_HEADERS, *refresh))
