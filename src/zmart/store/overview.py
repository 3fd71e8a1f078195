"""Read what the operator's dashboard shows, in a few indexed queries."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import msgspec

from zmart.store import reported_state
from zmart.store.inbox_backlog import IS_REAL
from zmart.store.pool import Pool
from zmart.store.reported_state import ReportedState
from zmart.store.service_status import silence

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
    (SELECT count(*) FROM ipfs_anchors WHERE verified_at IS NULL)               AS anchors_open,
    (SELECT gap_free_through_time FROM index_progress)                          AS chain_time,
    (SELECT dispute_period FROM program_config)                                 AS dispute_period_s
"""
_MARKETS = "SELECT state, count(*)::bigint AS markets FROM markets GROUP BY state ORDER BY state"
_ALERTS = """
SELECT key, severity, message, times, raised_at, last_at FROM alerts WHERE resolved_at IS NULL
ORDER BY severity, raised_at LIMIT 50
"""
# The step is the newest intent that was planned for the market: its action and its state.
_STALLED = """
SELECT w.market_id, m.state, w.job, w.status, w.attempts, w.last_error, w.next_attempt_at, i.step
FROM market_work w LEFT JOIN markets m USING (market_id)
LEFT JOIN LATERAL (
    SELECT action || ': ' || state AS step FROM intents WHERE market_id = w.market_id
    ORDER BY created_at DESC LIMIT 1) AS i ON true
WHERE w.status <> 'rejected'
ORDER BY w.status <> 'failing', w.last_attempt_at DESC NULLS LAST LIMIT 50
"""
_INTENTS = """
SELECT id, market_id, action, round, state, attempts, signature, error, updated_at FROM intents
WHERE state IN ('planned', 'signed', 'sent', 'dead', 'uncertain') ORDER BY state <> 'uncertain', created_at LIMIT 50
"""
_DEAD_LETTERS = """
SELECT id, signature, slot, attempts, last_error FROM inbox WHERE state = 'dead' ORDER BY id LIMIT 20
"""


class OverviewFigures(msgspec.Struct, frozen=True, kw_only=True):
    """Key figures of the backend. Those of the index are None before an indexer has ever run: the two slots,
    `scan_age_s` (seconds) and `chain_time`, the Unix seconds through which the index is gap-free. `dispute_period_s`
    is GlobalConfig's, None before its events are indexed."""

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
    chain_time: int | None
    dispute_period_s: int | None


class OpenAlert(msgspec.Struct, frozen=True, kw_only=True):
    """An alert that is not resolved. It was raised `times` times since `raised_at`, most recently at `last_at`."""

    key: str
    severity: str
    message: str
    times: int
    raised_at: datetime
    last_at: datetime


class StalledMarket(msgspec.Struct, frozen=True, kw_only=True):
    """A market with a job that fails or waits (`last_error`: why). `step`: "action: state" of its newest intent, None
    if it has none. `state` is None for a market that is not indexed."""

    market_id: str
    state: str | None
    job: str
    status: str
    attempts: int
    last_error: str | None
    next_attempt_at: datetime
    step: str | None


class OpenIntent(msgspec.Struct, frozen=True, kw_only=True):
    """An intent that has not failed and is not known to be on chain. `attempts`: how often it was signed."""

    id: UUID
    market_id: str
    action: str
    round: int
    state: str
    attempts: int
    signature: str | None
    error: str | None
    updated_at: datetime


class UnindexedTransaction(msgspec.Struct, frozen=True, kw_only=True):
    """A dead letter of the inbox: a transaction that could not be indexed, and why (`last_error`)."""

    id: int
    signature: str
    slot: int | None
    attempts: int
    last_error: str | None


class Overview(msgspec.Struct, frozen=True, kw_only=True):
    """The content of the operator's dashboard. `markets`: the number of markets by state; `silence`: the
    seconds since the last report of each service. `alerts`, `stalled` and `intents` have at most 50 items,
    `dead_letters` at most 20."""

    figures: OverviewFigures
    reported: ReportedState
    silence: dict[str, float]
    markets: dict[str, int]
    alerts: list[OpenAlert]
    stalled: list[StalledMarket]
    intents: list[OpenIntent]
    dead_letters: list[UnindexedTransaction]


async def overview(pool: Pool) -> Overview:
    """Return the overview as of now. Raises StoreError."""
    row = await pool.fetchrow(_FIGURES)
    assert row is not None
    figures = OverviewFigures(**row)
    # Lists that are empty by the figures are not read.
    under_way = figures.intents_open or figures.intents_uncertain
    intents = await pool.fetch(_INTENTS) if under_way else ()
    dead_letters = await pool.fetch(_DEAD_LETTERS) if figures.dead_letters else ()
    return Overview(
        figures=figures,
        reported=await reported_state.read(pool),
        silence=await silence(pool),
        markets={row["state"]: row["markets"] for row in await pool.fetch(_MARKETS)},
        alerts=[OpenAlert(**row) for row in await pool.fetch(_ALERTS)],
        stalled=[StalledMarket(**row) for row in await pool.fetch(_STALLED)],
        intents=[OpenIntent(**row) for row in intents],
        dead_letters=[UnindexedTransaction(**row) for row in dead_letters],
    )
