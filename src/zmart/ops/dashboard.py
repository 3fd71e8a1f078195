"""The dashboard page: one look tells what is wrong. Server-rendered, no script, renewed by the browser."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import jinja2
import msgspec

from zmart.errors import StoreError
from zmart.services.contract import Send
from zmart.settings import Settings
from zmart.store.overview import Figures, Overview, overview
from zmart.store.pool import Pool
from zmart.store.service_status import ServiceStatus

EXPECTED = ("indexer", "aggregator", "monitor", "gateway", "websocket", "snapshots")
SILENT_AFTER_S = 20.0
"""A service says every 5 s how it is; four missed words make it silent."""

_CSP = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"


class Row(msgspec.Struct, frozen=True):
    """A service as shown: `missing` when nobody heard of it lately."""

    service: str
    ready: bool
    missing: bool
    reason: str
    heard: str
    instance: str


class Card(msgspec.Struct, frozen=True):
    """One figure; `tone` is good, warn, bad or empty."""

    name: str
    value: str
    tone: str = ""


class Dashboard:
    """Renders the page from the database; when that is away, the page says so instead of failing."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._pool: Pool | None = None
        environment = jinja2.Environment(
            loader=jinja2.FileSystemLoader(Path(__file__).parent / "pages"),
            autoescape=True,
            auto_reload=False,
        )
        self._template = environment.get_template("dashboard.html")

    async def close(self) -> None:
        if self._pool is not None:
            await self._pool.close()

    async def page(self) -> str:
        """The page as HTML."""
        now = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S")
        try:
            self._pool = self._pool or await Pool.open(self._settings.require("database_url"), size=1)
            seen = await overview(self._pool)
        except StoreError as problem:
            return self._template.render(well=False, trouble=str(problem), now=now)
        services = service_rows(seen.services)
        trouble = first_trouble(seen, services)
        return self._template.render(
            well=not trouble,
            trouble=trouble,
            now=now,
            services=services,
            cards=cards(seen.figures, seen.markets),
            alerts=seen.alerts,
            troubles=seen.troubles,
        )

    async def answer(self, send: Send) -> None:
        """Send the page as an HTTP response."""
        body = (await self.page()).encode()
        headers = [
            (b"content-type", b"text/html; charset=utf-8"),
            (b"content-length", str(len(body)).encode()),
            (b"content-security-policy", _CSP.encode()),
            (b"x-content-type-options", b"nosniff"),
            (b"cache-control", b"no-store"),
            (b"refresh", b"5"),
        ]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})


def service_rows(statuses: list[ServiceStatus]) -> list[Row]:
    """One row for each process heard lately, and one for each of the six that nobody heard."""
    fresh = [status for status in statuses if status.age_s < SILENT_AFTER_S]
    heard = {status.service for status in fresh}
    rows = [
        Row(s.service, s.ready, False, s.reason, f"{s.age_s:.0f} s ago", s.instance)
        for s in fresh
    ]  # fmt: skip
    rows += [
        Row(name, False, True, f"nothing heard for {SILENT_AFTER_S:.0f} s: see `zmart ps`", "-", "-")
        for name in EXPECTED
        if name not in heard
    ]
    return sorted(rows, key=lambda row: (row.ready, row.service))


def first_trouble(seen: Overview, services: list[Row]) -> str:
    """The headline: the worst thing, in one clause; empty when all is well."""
    down = [row.service for row in services if not row.ready]
    if down:
        return f"{', '.join(down)} not ready"
    if seen.figures.intents_uncertain:
        return f"{seen.figures.intents_uncertain} transactions whose fate is unknown"
    if seen.figures.dead_letters:
        return f"{seen.figures.dead_letters} dead letters"
    critical = [alert for alert in seen.alerts if alert.severity == "critical"]
    return critical[0].message if critical else ""


def cards(figures: Figures, markets: dict[str, int]) -> list[Card]:
    """The figures, with a tone where a number alone says whether it is good."""
    lag = None if figures.tip_slot is None else figures.tip_slot - (figures.gap_free_through_slot or 0)
    return [
        Card("gap-free through slot", _number(figures.gap_free_through_slot)),
        Card("slots behind the tip", _number(lag), "" if lag is None else "good" if lag < 150 else "warn"),
        Card("inbox", _number(figures.inbox_pending), "warn" if figures.inbox_pending > 1000 else ""),
        Card("unconfirmed deliveries", _number(figures.unconfirmed)),
        Card("dead letters", _number(figures.dead_letters), "bad" if figures.dead_letters else "good"),
        Card("transactions under way", _number(figures.intents_open)),
        Card(
            "fate unknown", _number(figures.intents_uncertain), "bad" if figures.intents_uncertain else "good"
        ),
        Card("feed offset", _number(figures.feed_head)),
        Card("snapshots unverified", _number(figures.anchors_open), "warn" if figures.anchors_open else ""),
        *(Card(f"markets {state.lower()}", _number(count)) for state, count in markets.items()),
    ]


def _number(value: int | None) -> str:
    return "unknown" if value is None else f"{value:,}".replace(",", "\u202f")
