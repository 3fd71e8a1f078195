"""Store alerts by key. A key has at most one open alert: raising it again counts it, resolving it closes it."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

import msgspec

from zmart.store.clock_set_back import pause_is_over
from zmart.store.error_text import storable
from zmart.store.pool import Connection, Pool, Record

Severity = Literal["warning", "critical"]
_MOST_CHARS = 10_000
"""More than of an error: a message may list markets or transactions."""

_COLUMNS = "id, key, severity, message, times, raised_at, last_at, notified_at, resolved_at"
_RAISE = """
INSERT INTO alerts (key, severity, message) VALUES ($1, $2, $3)
ON CONFLICT (key) WHERE resolved_at IS NULL DO UPDATE
SET times = alerts.times + 1, last_at = now(), severity = excluded.severity, message = excluded.message
RETURNING times
"""
_RESOLVE = "UPDATE alerts SET resolved_at = now() WHERE key = $1 AND resolved_at IS NULL RETURNING id"
_RESOLVE_UNLESS_RAISED = """
UPDATE alerts SET resolved_at = now()
WHERE key = $1 AND resolved_at IS NULL AND (times = $2 OR last_at < now() - make_interval(secs => $3)) RETURNING id
"""
_OPEN = f"SELECT {_COLUMNS} FROM alerts WHERE resolved_at IS NULL ORDER BY severity, raised_at, id"
# The lease is also the pause after a failed notification: the process that failed does not shorten it.
_CLAIM = f"""
UPDATE alerts SET claimed_until = now() + make_interval(secs => $1)
WHERE id = (SELECT id FROM alerts
            WHERE (notified_at IS NULL OR (resolved_at IS NOT NULL AND notified_at < resolved_at))
              AND (claimed_until IS NULL OR {pause_is_over("claimed_until", "$1")})
            ORDER BY severity, id LIMIT 1 FOR UPDATE SKIP LOCKED)
RETURNING {_COLUMNS}, now() AS claimed_at
"""
_NOTIFIED = "UPDATE alerts SET notified_at = $2, claimed_until = NULL WHERE id = $1"


class AlertRow(msgspec.Struct, frozen=True):
    """An alert. `times`: how often it was raised while open; `last_at`: when it was raised last. `notified_at`: when
    the alert was claimed for the last notification that was sent; `resolved_at` is None while the alert is open."""

    id: int
    key: str
    severity: Severity
    message: str
    times: int
    raised_at: datetime
    last_at: datetime
    notified_at: datetime | None
    resolved_at: datetime | None


class AlertNotification(msgspec.Struct, frozen=True):
    """An alert that needs a notification, as the alert was at `claimed_at`."""

    alert: AlertRow
    claimed_at: datetime


async def raise_alert(db: Pool | Connection, key: str, severity: Severity, message: str) -> int:
    """Open an alert, or count the open alert of `key` once more and replace its severity and message. Returns how often
    the alert has been raised since it was opened."""
    times: int = await db.fetchval(_RAISE, key, severity, storable(message, _MOST_CHARS))
    return times


async def resolve_alert(db: Pool | Connection, key: str) -> bool:
    """Close the open alert of `key`. Returns False when no alert of the key was open."""
    return await db.fetchval(_RESOLVE, key) is not None


async def resolve_unless_raised_elsewhere(
    db: Pool | Connection, key: str, times: int, within_s: float
) -> bool:
    """Close the open alert of `key`, which this process has raised `times` times, if no other process raised it.

    If another did, or with `times` 0, it is closed once nobody has raised it for `within_s` seconds. Returns whether it
    was closed.
    """
    return await db.fetchval(_RESOLVE_UNLESS_RAISED, key, times, within_s) is not None


async def open_alerts(db: Pool | Connection) -> list[AlertRow]:
    """Return all open alerts: critical ones first, then by the time at which they were raised first."""
    return [_alert(row) for row in await db.fetch(_OPEN)]


async def claim_notification(db: Pool | Connection, lease_s: float) -> AlertNotification | None:
    """Return an alert whose opening or closing needs a notification; None if no alert does. No other caller gets the
    same alert within `lease_s` seconds."""
    row = await db.fetchrow(_CLAIM, lease_s)
    if row is None:
        return None
    *values, claimed_at = row
    return AlertNotification(AlertRow(*values), claimed_at)


async def mark_notified(db: Pool | Connection, notification: AlertNotification) -> None:
    """Record that the notification was sent. An alert that was resolved after the claim needs another notification."""
    await db.execute(_NOTIFIED, notification.alert.id, notification.claimed_at)


def _alert(row: Record) -> AlertRow:
    return AlertRow(*row)
