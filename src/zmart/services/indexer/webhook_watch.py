"""Alert when Helius has switched our webhook off, which it does when too many deliveries fail.

No transaction is lost by that: the scan finds each one, some seconds later. A check costs Helius credits, so it is
rare.
"""

from __future__ import annotations

from collections.abc import Sequence

import structlog

from zmart.chain.helius import HeliusClient, HeliusError, HeliusWebhook
from zmart.market.types import Address
from zmart.services.indexer.wake_signal import WakeSignal
from zmart.settings import Settings
from zmart.store import alerts
from zmart.store.pool import Pool
from zmart.store.retrying import Outages, retrying

_ALERT = "webhook-inactive"
_FIRST_CHECK_S = 30.0
log = structlog.get_logger()


class WebhookWatch:
    """Check every HELIUS_CHECK_INTERVAL_S, if HELIUS_API_KEY is set, whether Helius has disabled a webhook of the
    program."""

    def __init__(self, pool: Pool, settings: Settings) -> None:
        self._pool = pool
        self._settings = settings
        self._program = Address(settings.solana_program_id_core)

    async def run(self, signal: WakeSignal, outages: Outages) -> None:
        """Run until the service stops; returns at once without HELIUS_API_KEY or with an interval of 0."""
        interval_s = self._settings.helius_check_interval_s
        if not (interval_s and self._settings.helius_api_key.get_secret_value()):
            return
        # Not at once: a process that restarts repeatedly would otherwise ask each time.
        await signal.wait(min(_FIRST_CHECK_S, interval_s))
        await retrying(self._check_then_pause, signal, "The check of webhooks", outages, retry_s=interval_s)

    async def _check_then_pause(self) -> float:
        try:
            await self.check()
        except HeliusError as problem:
            log.warning("webhooks not checked", reason=str(problem))
        return self._settings.helius_check_interval_s

    async def check(self) -> None:
        """Request the webhooks from Helius, and raise or resolve the alert webhook-inactive.

        Raises HeliusError without an answer; the alert is then neither raised nor resolved.
        """
        async with HeliusClient.from_settings(self._settings) as helius:
            ours = [
                each for each in await helius.webhooks() if self._program in (each.account_addresses or ())
            ]
        inactive = [webhook for webhook in ours if webhook.active is False]
        if inactive:
            await alerts.raise_alert(self._pool, _ALERT, "warning", _about(inactive))
        else:
            await alerts.resolve_alert(self._pool, _ALERT)


def _about(inactive: Sequence[HeliusWebhook]) -> str:
    named = ", ".join(f"{webhook.webhook_id} to {webhook.webhook_url}" for webhook in inactive)
    return (
        f"Helius has switched off the webhook {named}: too many deliveries failed. Transactions are found by the scan "
        "alone until the endpoint answers again and `zmart webhook register` has switched it on."
    )
