"""Store alerts by key. At most one is open for each key; raising it again counts it, resolving closes it."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

import msgspec

from zmart.store.pool import Connection, Pool, Record

Severity = Literal["warning", "critical"]

_COLUMNS = "id, key, severity, message, times, raised_at, last_at, notified_at, resolved_at"
_RAISE = """
INSERT INTO alerts (key, severity, message) VALUES ($1, $2, $3)
ON CONFLICT (key) WHERE resolved_at IS NULL DO UPDATE
SET times = alerts.times + 1, last_at = now(), severity = excluded.severity, message = excluded.message
RETURNING times
"""
_RESOLVE = "UPDATE alerts SET resolved_at = now() WHERE key = $1 AND resolved_at IS NULL RETURNING id"
_OPEN = f"SELECT {_COLUMNS} FROM alerts WHERE resolved_at IS NULL ORDER BY severity, raised_at, id"
# The lease is also the pause after a failure: a process that could not notify leaves it as it is.
_CLAIM = f"""
UPDATE alerts SET claimed_until = now() + make_interval(secs => $1)
WHERE id = (SELECT id FROM alerts
            WHERE (notified_at IS NULL OR (resolved_at IS NOT NULL AND notified_at < resolved_at))
              AND coalesce(claimed_until, '-infinity') <= now()
            ORDER BY severity, id LIMIT 1 FOR UPDATE SKIP LOCKED)
RETURNING {_COLUMNS}, now() AS claimed_at
"""
_NOTIFIED = "UPDATE alerts SET notified_at = $2, claimed_until = NULL WHERE id = $1"


class AlertRow(msgspec.Struct, frozen=True):
    """An alert. `times`: how often it was raised while open; `notified_at`: when the last notification was sent."""

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
    """An alert as it was at `claimed_at`, for which a notification is to be sent."""

    alert: AlertRow
    claimed_at: datetime


async def raise_alert(db: Pool | Connection, key: str, severity: Severity, message: str) -> int:
    """Open the alert, or count it once more. Returns how often it has been raised since it opened."""
    times: int = await db.fetchval(_RAISE, key, severity, message)
    return times


async def resolve_alert(db: Pool | Connection, key: str) -> bool:
    """Close the open alert of that key. Returns False when there was none."""
    return await db.fetchval(_RESOLVE, key) is not None


async def open_alerts(db: Pool | Connection) -> list[AlertRow]:
    """Return all open alerts, critical ones first."""
    return [_alert(row) for row in await db.fetch(_OPEN)]


async def claim_notification(db: Pool | Connection, lease_s: float) -> AlertNotification | None:
    """Return an alert whose opening or closing needs a notification; no other caller gets it until the lease ends."""
    row = await db.fetchrow(_CLAIM, lease_s)
    if row is None:
        return None
    *values, claimed_at = row
    return AlertNotification(AlertRow(*values), claimed_at)


async def mark_notified(db: Pool | Connection, notification: AlertNotification) -> None:
    """Record that the notification was sent. A change of the alert since the claim needs another one."""
    await db.execute(_NOTIFIED, notification.alert.id, notification.claimed_at)


def _alert(row: Record) -> AlertRow:
    return AlertRow(*row)
