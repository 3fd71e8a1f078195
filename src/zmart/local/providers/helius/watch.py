"""Subscribe to transactions of all webhooks' addresses, and queue them for delivery."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from functools import partial

import httpx
import structlog

from zmart.chain import subscriptions
from zmart.chain.rpc import Rpc
from zmart.errors import ChainError
from zmart.local.providers.helius.delivery import DISABLE_AFTER, RETRY_GAP_S, WebhookPoster
from zmart.local.providers.helius.payloads import TransactionSource
from zmart.local.providers.helius.registry import RegisteredWebhook, WebhookRegistry
from zmart.market.types import Address

_log = structlog.get_logger(__name__)
_CONNECTIONS = httpx.Limits(max_connections=16, max_keepalive_connections=8)


class AddressWatch:
    """Run one subscription for each address and one WebhookPoster for each enabled webhook of the registry."""

    def __init__(
        self,
        registry: WebhookRegistry,
        rpc: Rpc,
        ws_url: str,
        *,
        retry_gap_s: float = RETRY_GAP_S,
        disable_after: int = DISABLE_AFTER,
    ) -> None:
        self._registry = registry
        self._rpc = rpc
        self._ws_url = ws_url
        self._retry_gap_s = retry_gap_s
        self._disable_after = disable_after
        self._http = httpx.AsyncClient(limits=_CONNECTIONS, trust_env=False)
        self._source = TransactionSource(rpc)
        self._listeners: dict[Address, asyncio.Task[None]] = {}
        self._connected: set[Address] = set()
        self._deliveries: dict[str, WebhookPoster] = {}
        self._wake = asyncio.Event()

    def changed(self) -> None:
        """Signal that the registry has changed, so that `run` adapts subscriptions and deliveries."""
        self._wake.set()

    async def run(self, stop: asyncio.Event) -> None:
        """Run until `stop` is set. Raises the exception that ended a subscription."""
        stopping = asyncio.create_task(stop.wait())
        try:
            while not stop.is_set():
                self._wake.clear()
                await self._follow()
                waking = asyncio.create_task(self._wake.wait())
                tasks = {stopping, waking, *self._listeners.values()}
                done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                waking.cancel()
                for listener in done - {stopping, waking}:
                    listener.result()
        finally:
            stopping.cancel()
            await self._close()

    async def missing(self) -> str:
        """Return why transactions of some address cannot be observed now, or "" if all can."""
        silent = {Address(each) for each in self._addresses()} - self._connected
        if silent:
            return f"not subscribed yet: {', '.join(sorted(silent))}"
        try:
            await self._rpc.get_slot()
        except ChainError as problem:
            return str(problem)
        return ""

    def _active(self) -> list[RegisteredWebhook]:
        return [webhook for webhook in self._registry.all() if webhook.active]

    def _addresses(self) -> set[Address]:
        return {Address(each) for webhook in self._active() for each in webhook.account_addresses}

    async def _follow(self) -> None:
        addresses = self._addresses()
        for address in self._listeners.keys() - addresses:
            self._connected.discard(address)
            await _end(self._listeners.pop(address))
        for address in addresses - self._listeners.keys():
            self._listeners[address] = asyncio.create_task(self._listen(address))
        webhooks = {webhook.webhook_id: webhook for webhook in self._active()}
        for webhook_id in list(self._deliveries):
            if webhooks.get(webhook_id) != self._deliveries[webhook_id].webhook:
                await self._deliveries.pop(webhook_id).close()
        for webhook_id in webhooks.keys() - self._deliveries.keys():
            self._deliveries[webhook_id] = self._delivery(webhooks[webhook_id])

    def _delivery(self, webhook: RegisteredWebhook) -> WebhookPoster:
        return WebhookPoster(
            webhook,
            self._source,
            self._http,
            retry_gap_s=self._retry_gap_s,
            disable_after=self._disable_after,
            on_failing=partial(self._disable, webhook.webhook_id),
        )

    def _disable(self, webhook_id: str) -> None:
        webhook = self._registry.find(webhook_id)
        if webhook is None or not webhook.active or self._registry.is_in_grace(webhook_id):
            return
        self._registry.toggle(webhook, active=False)
        _log.warning("webhook disabled", webhook=webhook_id, url=webhook.webhook_url)
        self.changed()

    async def _listen(self, address: Address) -> None:
        connected = partial(self._connected.add, address)
        async with aclosing(subscriptions.logs(self._ws_url, address, on_connect=connected)) as notices:
            async for notice in notices:
                for delivery in self._deliveries.values():
                    if address in delivery.webhook.account_addresses:
                        delivery.offer(notice.signature)

    async def _close(self) -> None:
        for listener in self._listeners.values():
            await _end(listener)
        for delivery in self._deliveries.values():
            await delivery.close()
        await self._http.aclose()


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
