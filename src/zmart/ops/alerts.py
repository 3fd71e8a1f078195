"""Send alerts: one POST to ALERT_WEBHOOK_URL when an alert opens, one when it closes.

An alert that closes before its first POST gets only the one about its end. Every monitor process runs this module; a
claim in PostgreSQL assigns each message to one process. If that process ends after the receiver answered and before
PostgreSQL recorded it, the message is sent again: the receiver recognizes the repetition by `id` and `status`.
"""

from __future__ import annotations

import asyncio

import httpx
import msgspec
import structlog

from zmart import bounded_http
from zmart.loopback import client_options
from zmart.settings import Settings
from zmart.store import alerts
from zmart.store.alerts import AlertRow
from zmart.store.pool import Pool
from zmart.store.retrying import StopSignal, retrying

EVERY_S = 2.0
LEASE_S = 30.0
_TIMEOUT_S = 10.0
log = structlog.get_logger()


async def send_alerts(settings: Settings, stop: asyncio.Event, every_s: float = EVERY_S) -> None:
    """Send alerts until `stop` is set, and look for new ones every `every_s` seconds.

    Returns at once if ALERT_WEBHOOK_URL is not set. Waits while PostgreSQL is unavailable.
    """
    url = settings.alert_webhook_url.get_secret_value()
    if not url:
        return
    pool = Pool(settings.require("database_url"), size=1, wait_s=2.0)
    try:
        async with httpx.AsyncClient(timeout=_TIMEOUT_S, **client_options(url)) as http:

            async def send_all() -> float:
                while not stop.is_set() and await send_next(pool, http, url):
                    pass
                return every_s

            await retrying(send_all, StopSignal(stop), "Sending alerts", retry_s=every_s)
    finally:
        await pool.close()


async def send_next(
    pool: Pool, http: httpx.AsyncClient, url: str, lease_s: float = LEASE_S, within_s: float = _TIMEOUT_S
) -> bool:
    """Send the next message, and return False if there was none. Raises StoreError.

    If the POST fails or takes longer than `within_s` seconds, the message can be claimed again after `lease_s` seconds.
    """
    notification = await alerts.claim_notification(pool, lease_s)
    if notification is None:
        return False
    try:
        response = await bounded_http.request(
            http,
            "POST",
            url,
            within_s=within_s,
            content=message(notification.alert),
            headers={"content-type": "application/json"},
        )
        refusal = "" if response.is_success else f"HTTP status {response.status_code}"
    except (httpx.HTTPError, httpx.InvalidURL) as problem:
        refusal = type(problem).__name__  # not the text: it may hold ALERT_WEBHOOK_URL, which is a secret
    if refusal:
        log.warning("alert not delivered", alert=notification.alert.key, error=refusal)
    else:
        await alerts.mark_notified(pool, notification)
    return True


def message(alert: AlertRow) -> bytes:
    """Encode an alert as the JSON body of a POST.

    Slack reads `text`, Discord `content` (the text's first 2,000 characters), and programs read the other fields.
    """
    status = "open" if alert.resolved_at is None else "resolved"
    text = f"ZMART {alert.severity if status == 'open' else status}: {alert.message}"
    fields = {
        "id": alert.id,
        "key": alert.key,
        "status": status,
        "severity": alert.severity,
        "message": alert.message,
        "times": alert.times,
        "raised_at": alert.raised_at,
        "resolved_at": alert.resolved_at,
    }
    return msgspec.json.encode({"text": text, "content": text[:2_000], **fields})
