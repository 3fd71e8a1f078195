"""Read the figures of the operator's dashboard, in a few indexed queries."""

from __future__ import annotations

from datetime import datetime

import msgspec

from zmart.store.inbox import IS_REAL
from zmart.store.pool import Pool
from zmart.store.service_status import ServiceStatus, all_statuses

_FIGURES = f"""
SELECT
    (SELECT gap_free_through_slot FROM index_progress)                          AS gap_free_through_slot,
    (SELECT tip_slot FROM index_progress)                                       AS tip_slot,
    (SELECT extract(epoch FROM now() - scanned_at)::float8 FROM index_progress) AS scan_age_s,
    (SELECT count(*) FROM inbox WHERE {IS_REAL}) AS inbox_pending,
    (SELECT count(*) FROM unconfirmed_transactions)                             AS unconfirmed,
    (SELECT count(*) FROM inbox WHERE state = 'dead')                           AS dead_letters,
    (SELECT count(*) FROM intents WHERE state IN ('planned', 'signed', 'sent', 'dead')) AS intents_open,
    (SELECT count(*) FROM intents WHERE state = 'uncertain')                    AS intents_uncertain,
    (SELECT head FROM feed_head)                                                AS feed_head,
    (SELECT count(*) FROM ipfs_anchors WHERE verified_at IS NULL)               AS anchors_open
"""
_MARKETS = "SELECT state, count(*)::bigint AS markets FROM markets GROUP BY state ORDER BY state"
_ALERTS = """
SELECT key, severity, message, times, raised_at, last_at FROM alerts WHERE resolved_at IS NULL
ORDER BY severity, raised_at LIMIT 50
"""
_TROUBLES = """
SELECT market_id, job, status, attempts, last_error, next_attempt_at FROM market_work
WHERE last_error IS NOT NULL ORDER BY last_attempt_at DESC NULLS LAST LIMIT 50
"""


class OverviewFigures(msgspec.Struct, frozen=True, kw_only=True):
    """Key figures of the backend; those of the index are None before it began."""

    gap_free_through_slot: int | None
    tip_slot: int | None
    scan_age_s: float | None
    inbox_pending: int
    unconfirmed: int
    dead_letters: int
    intents_open: int
    intents_uncertain: int
    feed_head: int
    anchors_open: int


class OpenAlert(msgspec.Struct, frozen=True, kw_only=True):
    """An alert that is not resolved."""

    key: str
    severity: str
    message: str
    times: int
    raised_at: datetime
    last_at: datetime


class StalledMarket(msgspec.Struct, frozen=True, kw_only=True):
    """A market whose job fails, and why."""

    market_id: str
    job: str
    status: str
    attempts: int
    last_error: str
    next_attempt_at: datetime


class Overview(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that the dashboard shows."""

    figures: OverviewFigures
    services: list[ServiceStatus]
    markets: dict[str, int]
    alerts: list[OpenAlert]
    troubles: list[StalledMarket]


async def overview(pool: Pool) -> Overview:
    """Return the present overview. Raises StoreError."""
    figures = await pool.fetchrow(_FIGURES)
    assert figures is not None
    return Overview(
        figures=OverviewFigures(**figures),
        services=await all_statuses(pool),
        markets={row["state"]: row["markets"] for row in await pool.fetch(_MARKETS)},
        alerts=[OpenAlert(**row) for row in await pool.fetch(_ALERTS)],
        troubles=[StalledMarket(**row) for row in await pool.fetch(_TROUBLES)],
    )
