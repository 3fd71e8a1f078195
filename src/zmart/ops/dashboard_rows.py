"""Turn the state of the backend into the dashboard's rows of services, cards of figures, and headline."""

from __future__ import annotations

import msgspec

from zmart.services.contract import SERVICES
from zmart.store.overview import Overview, OverviewFigures
from zmart.store.service_status import SILENT_AFTER_S, ServiceStatus


class ServiceRow(msgspec.Struct, frozen=True):
    """A row of the dashboard for one process of a service. `missing`: no process of the service reported recently."""

    service: str
    ready: bool
    missing: bool
    reason: str
    reported: str
    instance: str


class FigureCard(msgspec.Struct, frozen=True):
    """A card of the dashboard with one figure. `tone` is its CSS class: good, warn, bad or empty."""

    name: str
    value: str
    tone: str = ""


def service_rows(statuses: list[ServiceStatus]) -> list[ServiceRow]:
    """Return one row for each process that reported in the last SILENT_AFTER_S seconds, and one for each service
    without such a process.

    Rows that are not ready come first.
    """
    fresh = [status for status in statuses if status.age_s < SILENT_AFTER_S]
    reported = {status.service for status in fresh}
    rows = [
        ServiceRow(s.service, s.ready, False, s.reason, f"{s.age_s:.0f} s ago", s.instance)
        for s in fresh
    ]  # fmt: skip
    rows += [
        ServiceRow(name, False, True, f"no report for {SILENT_AFTER_S:.0f} s: see `zmart ps`", "-", "-")
        for name in SERVICES
        if name not in reported
    ]
    return sorted(rows, key=lambda row: (row.ready, row.service))


def first_trouble(state: Overview, services: list[ServiceRow]) -> str:
    """Return the dashboard's headline: the first of services that are not ready, transactions with an unknown outcome,
    dead letters, the message of a critical alert, and the reason that a service gives. "" if there is none of them."""
    down = [row.service for row in services if not row.ready]
    if down:
        return f"{', '.join(down)} not ready"
    if state.figures.intents_uncertain:
        return f"{state.figures.intents_uncertain} transactions with an unknown outcome"
    if state.figures.dead_letters:
        return f"{state.figures.dead_letters} dead letters"
    critical = [alert for alert in state.alerts if alert.severity == "critical"]
    if critical:
        return critical[0].message
    waiting = [f"{row.service}: {row.reason}" for row in services if row.reason]
    return waiting[0] if waiting else ""


def cards(figures: OverviewFigures, markets: dict[str, int]) -> list[FigureCard]:
    """Return the cards of all figures; `markets` is the number of markets in each state."""
    lag = None if figures.tip_slot is None else figures.tip_slot - (figures.gap_free_through_slot or 0)
    return [
        FigureCard("gap-free through slot", _number(figures.gap_free_through_slot)),
        FigureCard(
            "slots behind the tip", _number(lag), "" if lag is None else "good" if lag < 150 else "warn"
        ),
        FigureCard("inbox", _number(figures.inbox_pending), "warn" if figures.inbox_pending > 1000 else ""),
        FigureCard("unconfirmed deliveries", _number(figures.unconfirmed)),
        FigureCard("dead letters", _number(figures.dead_letters), "bad" if figures.dead_letters else "good"),
        FigureCard("transactions in flight", _number(figures.intents_open)),
        FigureCard(
            "outcome unknown",
            _number(figures.intents_uncertain),
            "bad" if figures.intents_uncertain else "good",
        ),
        FigureCard("feed offset", _number(figures.feed_head)),
        FigureCard(
            "snapshots unverified", _number(figures.anchors_open), "warn" if figures.anchors_open else ""
        ),
        *(FigureCard(f"markets {state.lower()}", _number(count)) for state, count in markets.items()),
    ]


def _number(value: int | None) -> str:
    return "unknown" if value is None else f"{value:,}".replace(",", "\u202f")
