"""Collect the status that each service reports to the database, for /api/status and /health/{service}."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from zmart.client.shapes import system as shapes
from zmart.errors import NotFound
from zmart.market.times import iso, now_iso
from zmart.services.gateway.api import vote_terms
from zmart.services.gateway.context import AppContext
from zmart.store import change_feed, reported_state, status
from zmart.store.reported_state import ReportedState, this_instance
from zmart.store.service_status import ServiceStatus
from zmart.store.status import Progress
from zmart.version import VERSION, commit

_NAMES = {
    "event-indexer": "indexer",
    "vote-aggregator": "aggregator",
    "market-monitor": "monitor",
    "websocket": "websocket",
    "ipfs": "snapshots",
}
_EXPECTED = (*_NAMES.values(), "gateway")
PUBLIC_NAMES = (*_NAMES, "gateway")


async def of_service(context: AppContext, name: str) -> shapes.ServiceHealth:
    """Return the state of a service by the last reports of its instances. `name` is a public name such as
    event-indexer, or an internal one such as indexer. Raises NotFound for any other name."""
    service = _NAMES.get(name, name)
    if service not in _EXPECTED:
        raise NotFound(f"There is no service {name[:40]}: there are {', '.join(_NAMES)}.")
    state = await reported_state.read(context.pool)
    reports = [report for report in _states(state) if report.service == service]
    word = _best(reports, is_unknown=bool(state.trouble))
    return shapes.ServiceHealth(status=word, service=name, timestamp=now_iso(), instances=reports)


async def status_of(context: AppContext) -> shapes.Status:
    """Return the answer of GET /api/status: state of every service, progress of the index, lengths of the queues,
    position of the feed, balance of the fee payer and rules of votes."""
    state = await reported_state.read(context.pool)
    reports = _states(state)
    progress = await status.progress(context.pool)
    feed = await change_feed.head(context.pool)
    payer = await context.payer_balance.get()
    by_service = {
        name: _best([row for row in reports if row.service == name], is_unknown=bool(state.trouble))
        for name in _EXPECTED
    }
    return shapes.Status(
        status="ok" if set(by_service.values()) == {"ok"} else "degraded",
        timestamp=now_iso(),
        version=VERSION,
        commit=commit(),
        program_id=context.program.address,
        pricing_model=context.pricing.name,
        gap_free_through_slot=progress.gap_free_through_slot if progress else None,
        lag_slots=_lag(progress) if progress else None,
        index=_index(progress) if progress else None,
        services=reports,
        service_status=by_service,
        queues=shapes.QueueState(**msgspec.structs.asdict(await status.queues(context.pool))),
        feed=shapes.FeedState(epoch=feed.epoch, head=feed.head, kept_from=feed.kept_from),
        fee_payer=payer.wallet,
        fee_payer_balance=payer.lamports,
        websocket_url=context.socket_url,
        vote_rules=vote_terms.of_settings(context.settings),
        dispute_review=context.settings.dispute_review,
    )


def _states(state: ReportedState) -> list[shapes.ServiceState]:
    """Return the state of each process. While reports cannot be stored, that of others is unknown, which is degraded
    with the reason, and this process, a gateway, says its own."""
    if not state.trouble:
        return [_state(row) for row in state.reports]
    own = this_instance()
    others = [_unknown(row, state.trouble) for row in state.reports if row.instance != own]
    return [*others, _own(state, next((row for row in state.reports if row.instance == own), None))]


def _unknown(row: ServiceStatus, trouble: str) -> shapes.ServiceState:
    reason = f"Unknown for {row.age_s:.0f} s. {trouble}."
    return msgspec.structs.replace(_state(row), status="degraded", ready=False, reason=reason)


def _own(state: ReportedState, row: ServiceStatus | None) -> shapes.ServiceState:
    return shapes.ServiceState(
        service="gateway",
        status="degraded",
        ready=not state.own_reason,
        reason=state.own_reason or f"{state.trouble}.",
        instance=this_instance(),
        seen_at=iso(row.seen_at) if row else None,
        age_s=round(row.age_s, 1) if row else None,
        details=row.details if row else {},
    )


def _state(row: ServiceStatus) -> shapes.ServiceState:
    is_well = row.ready and not row.reason  # ready with a reason: it works, but not in full
    word = "down" if not row.is_recent else ("ok" if is_well else "degraded")
    return shapes.ServiceState(
        service=row.service,
        status=word,
        ready=row.ready and word != "down",
        reason=row.reason,
        instance=row.instance,
        seen_at=iso(row.seen_at),
        age_s=round(row.age_s, 1),
        details=row.details,
    )


def _best(reports: Sequence[shapes.ServiceState], *, is_unknown: bool) -> str:
    """Return the best status among a service's instances: ok, degraded or down. If there are none it is down, or
    degraded while it `is_unknown` whether there are any. A killed instance is listed for one more minute, and must not
    hide another that works."""
    statuses = {row.status for row in reports}
    return next(
        (each for each in ("ok", "degraded") if each in statuses), "degraded" if is_unknown else "down"
    )


def _index(progress: Progress) -> shapes.IndexState:
    return shapes.IndexState(
        program_id=progress.program_id,
        gap_free_through_slot=progress.gap_free_through_slot,
        tip_slot=progress.tip_slot,
        lag_slots=_lag(progress),
        scanned_at=iso(progress.scanned_at),
    )


def _lag(progress: Progress) -> int:
    return max(0, progress.tip_slot - progress.gap_free_through_slot)
