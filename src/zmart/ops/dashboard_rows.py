"""Turn the state of the backend into the dashboard's rows of services, cards of figures, and headline."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, get_args

import msgspec

from zmart.services.contract import SERVICES
from zmart.store.overview import Overview, OverviewFigures
from zmart.store.reported_state import ReportedState, this_instance
from zmart.store.service_status import ServiceStatus

DisplayedReadiness = Literal["no", "silent", "unknown", "yes"]
_ORDER: tuple[DisplayedReadiness, ...] = get_args(DisplayedReadiness)


class ServiceRow(msgspec.Struct, frozen=True):
    """A row of the dashboard for one process of a service.

    `ready` is silent if no process of the service reported recently, and unknown while reports cannot be stored.
    """

    service: str
    ready: DisplayedReadiness
    reason: str
    reported: str
    instance: str


class FigureCard(msgspec.Struct, frozen=True):
    """A card of the dashboard with one figure. `tone` is its CSS class: good, warn, bad or empty."""

    name: str
    value: str
    tone: str = ""


def service_rows(state: ReportedState, silence: Mapping[str, float]) -> list[ServiceRow]:
    """Return one row for each process that reported in the last SILENT_AFTER_S seconds, and one for each service
    without such a process. `silence` is the seconds since the last report of each service.

    While reports cannot be stored, the rows are those of the last reports, and of this process, a gateway. Rows that
    are not ready come first.
    """
    rows = _unknown_rows(state) if state.trouble else _known_rows(state.reports)
    listed = {row.service for row in rows}
    rows += [
        _row_without_report(name, silence.get(name), is_unknown=bool(state.trouble))
        for name in SERVICES
        if name not in listed
    ]
    return sorted(rows, key=lambda row: (_ORDER.index(row.ready), row.service))


def _known_rows(reports: list[ServiceStatus]) -> list[ServiceRow]:
    return [
        ServiceRow(r.service, "yes" if r.ready else "no", r.reason, _ago(r.age_s), r.instance)
        for r in reports
        if r.is_recent
    ]


def _unknown_rows(state: ReportedState) -> list[ServiceRow]:
    """Return a row for this process, which knows its own state, and one for each other process that reported."""
    own = this_instance()
    reason = state.own_reason or "its report is not stored: its log says why"
    age_s = next((report.age_s for report in state.reports if report.instance == own), None)
    rows = [ServiceRow("gateway", "no" if state.own_reason else "yes", reason, _ago(age_s), own)]
    return rows + [
        ServiceRow(r.service, "unknown", f"unknown for {r.age_s:.0f} s", _ago(r.age_s), r.instance)
        for r in state.reports
        if r.instance != own
    ]


def _row_without_report(service: str, age_s: float | None, *, is_unknown: bool) -> ServiceRow:
    since = "no report" if age_s is None else f"no report for {age_s:.0f} s"
    if is_unknown:
        return ServiceRow(service, "unknown", since, _ago(age_s), "-")
    return ServiceRow(service, "silent", f"{since}: see `zmart ps`", _ago(age_s), "-")


def _ago(age_s: float | None) -> str:
    return "-" if age_s is None else f"{age_s:.0f} s ago"


def first_trouble(state: Overview, services: list[ServiceRow]) -> str:
    """Return the dashboard's headline: the first of reports that cannot be stored, services that are not ready,
    transactions with an unknown outcome, dead letters, the message of a critical alert, and the reason that a service
    gives. "" if there is none of them."""
    if state.reported.trouble:
        return state.reported.trouble
    down = [row.service for row in services if row.ready != "yes"]
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
