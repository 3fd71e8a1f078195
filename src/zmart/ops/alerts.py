"""Tells people of alerts: one POST to ALERT_WEBHOOK_URL when an alert opens, one when it closes.

Every monitor runs this; a claim in PostgreSQL gives each message to one of them. Who dies between the answer and the
mark leaves a message that is told again: the receiver knows it by its `id` and `status`.
"""

from __future__ import annotations

import asyncio

import httpx
import msgspec
import structlog

from zmart.settings import Settings
from zmart.store import alerts
from zmart.store.alerts import Alert
from zmart.store.pool import Pool
from zmart.store.retrying import StopSignal, retrying

EVERY_S = 2.0
LEASE_S = 30.0
_TIMEOUT_S = 10.0
log = structlog.get_logger()


async def tell_of_alerts(settings: Settings, stop: asyncio.Event, every_s: float = EVERY_S) -> None:
    """Until `stop` is set; returns at once without ALERT_WEBHOOK_URL."""
    url = settings.alert_webhook_url.get_secret_value()
    if not url:
        return
    pool: Pool | None = None
    async with httpx.AsyncClient(timeout=_TIMEOUT_S) as http:

        async def tell_all() -> float:
            nonlocal pool
            pool = pool or await Pool.open(settings.require("database_url"), size=1)
            while not stop.is_set() and await tell_one(pool, http, url):
                pass
            return every_s

        await retrying(tell_all, StopSignal(stop), "Telling of alerts", retry_s=every_s)
    if pool is not None:
        await pool.close()


async def tell_one(pool: Pool, http: httpx.AsyncClient, url: str, lease_s: float = LEASE_S) -> bool:
    """Tell the next message, if there is one. It is tried again after the lease when nobody takes it."""
    news = await alerts.claim_news(pool, lease_s)
    if news is None:
        return False
    try:
        answer = await http.post(
            url, content=message(news.alert), headers={"content-type": "application/json"}
        )
        refusal = "" if answer.is_success else f"HTTP status {answer.status_code}"
    except (httpx.HTTPError, httpx.InvalidURL) as problem:
        refusal = type(problem).__name__  # its text may hold the address, which is a secret
    if refusal:
        log.warning("alert not delivered", alert=news.alert.key, problem=refusal)
    else:
        await alerts.mark_told(pool, news)
    return True


def message(alert: Alert) -> bytes:
    """`text` is what Slack shows, `content` Discord; the rest is for programs."""
    status = "open" if alert.resolved_at is None else "resolved"
    text = f"ZMART {alert.severity if status == 'open' else status}: {alert.message}"
    about = {
        "id": alert.id,
        "key": alert.key,
        "status": status,
        "severity": alert.severity,
        "message": alert.message,
        "times": alert.times,
        "raised_at": alert.raised_at,
        "resolved_at": alert.resolved_at,
    }
    return msgspec.json.encode({"text": text, "content": text[:2_000], **about})
