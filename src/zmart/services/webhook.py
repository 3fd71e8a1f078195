"""Receive deliveries of Helius' webhook, on the gateway's port and on the indexer's: check, store, acknowledge.

A delivery is only a hint: it is stored as received, and the indexer processes it later.
"""

from __future__ import annotations

import asyncio
import time

import msgspec
from prometheus_client import Counter

from zmart import traces
from zmart.chain.webhook_auth import authorization_matches, hmac_matches
from zmart.chain.webhooks import WebhookDelivery, read_delivery
from zmart.errors import DecodeError, SettingError, StoreError
from zmart.market.integers import parse_decimal
from zmart.services.contract import Receive, Scope
from zmart.services.plain_http import content_encoding_problem, read_body
from zmart.services.store_refusal import refusal_of
from zmart.settings import Settings
from zmart.store import inbox
from zmart.store.pool import Pool

PATH = "/api/webhooks/helius"

DELIVERIES = Counter("zmart_webhook_deliveries", "webhook deliveries by HTTP status", ["status"])
TRANSACTIONS = Counter("zmart_webhook_transactions", "transactions named by webhooks", ["kind"])


class WebhookRefusal(msgspec.Struct, frozen=True):
    """The HTTP status (400 or above) and the sentence that refuse a delivery.

    `retry_after` is the Retry-After header in seconds; None without that header.
    """

    status: int
    message: str
    retry_after: str | None = None


class WebhookReceipt(msgspec.Struct, frozen=True, omit_defaults=True):
    """How many transactions of a delivery were received, and how many of these were known already.

    `refused` counts invalid elements; `reasons` says why the first of them were refused.
    """

    received: int
    duplicates: int
    refused: int = 0
    reasons: tuple[str, ...] = ()


class WebhookReceiver:
    """Receive webhook deliveries and store their transactions in the inbox.

    Raises SettingError if no secret is set, except with ZMART_ENV=local.
    """

    def __init__(self, pool: Pool, settings: Settings) -> None:
        self._pool = pool
        self._secret = settings.helius_webhook_secret.get_secret_value()
        self._with_hmac = settings.helius_webhook_hmac
        self._waking: asyncio.Task[None] | None = None
        self._wake_pending = False
        self.max_body_bytes = settings.webhook_max_body_bytes
        if not self._secret and not settings.is_local:
            raise SettingError(
                "HELIUS_WEBHOOK_SECRET is not set: anyone could post to the webhook. Set it to the Authorization "
                "value that the webhook was registered with, or ZMART_ENV=local on your own machine."
            )

    async def receive(self, scope: Scope, receive: Receive) -> WebhookReceipt | WebhookRefusal:
        """Receive one delivery and return its receipt or its refusal; an invalid delivery raises nothing.

        A head without the secret, or with too large a Content-Length, is refused before the body is read.
        """
        answer = await self._judge(scope, receive, time.time_ns())
        status = answer.status if isinstance(answer, WebhookRefusal) else 200
        DELIVERIES.labels(str(status)).inc()
        return answer

    async def _judge(self, scope: Scope, receive: Receive, began_ns: int) -> WebhookReceipt | WebhookRefusal:
        headers = dict(scope["headers"])
        is_helius, signature = self._is_authorized(headers), self._hmac_signature(headers)
        if not is_helius and signature is None:
            return _UNAUTHORIZED
        if (problem := content_encoding_problem(scope)) is not None:
            return WebhookRefusal(415, problem)
        if not _is_short(headers.get(b"content-length"), self.max_body_bytes):
            return self._too_large()
        body = await read_body(receive, self.max_body_bytes)
        if body is None:
            return self._too_large()
        if not is_helius and not hmac_matches(signature, self._secret, body):
            return _UNAUTHORIZED
        try:
            delivery = read_delivery(body)
        except DecodeError as error:
            return WebhookRefusal(400, str(error))
        TRANSACTIONS.labels("refused").inc(delivery.refused)
        if delivery.refused and not delivery.items:
            return WebhookRefusal(400, " ".join(delivery.reasons))
        return await self._store(delivery, began_ns)

    def _too_large(self) -> WebhookRefusal:
        return WebhookRefusal(413, f"The body may have {self.max_body_bytes} bytes.")

    async def _store(self, delivery: WebhookDelivery, began_ns: int) -> WebhookReceipt | WebhookRefusal:
        hints = [inbox.Hint(item.signature, item.slot, item.raw) for item in delivery.items]
        try:
            stored = await inbox.store(self._pool, "webhook", hints, wake_workers=False)
        except StoreError as problem:
            refusal = refusal_of(problem)
            return WebhookRefusal(503, refusal.message, refusal.retry_after)
        for hint in hints if traces.is_on() else ():
            traces.record(traces.TransactionStep.DELIVERY, hint.signature, began_ns)
        if stored.changed:  # a delivery that completes a known row makes work, too
            self._wake_workers()
        TRANSACTIONS.labels("fresh").inc(stored.fresh)
        TRANSACTIONS.labels("duplicate").inc(len(hints) - stored.fresh)
        duplicates = len(hints) - stored.fresh
        return WebhookReceipt(len(hints), duplicates, delivery.refused, tuple(delivery.reasons))

    async def woken(self) -> None:
        """Wait until the indexer's workers have been notified of all deliveries so far."""
        if self._waking is not None:
            await self._waking

    def _wake_workers(self) -> None:
        """Notify the indexer's workers in a task, so that no response waits for it; concurrent deliveries share it."""
        self._wake_pending = True
        if self._waking is None or self._waking.done():
            self._waking = asyncio.create_task(self._notify())

    async def _notify(self) -> None:
        while self._wake_pending:
            self._wake_pending = False
            try:
                await inbox.wake(self._pool)
            except StoreError:
                return  # the workers read the inbox by themselves some seconds later

    def _is_authorized(self, headers: dict[bytes, bytes]) -> bool:
        return not self._secret or authorization_matches(_text(headers.get(b"authorization")), self._secret)

    def _hmac_signature(self, headers: dict[bytes, bytes]) -> str | None:
        """Return the HMAC signature in the headers; None if there is none or HELIUS_WEBHOOK_HMAC is off."""
        return _text(headers.get(b"x-helius-signature")) if self._with_hmac else None


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode("latin-1")


def _is_short(announced: bytes | None, most: int) -> bool:
    """Return whether the Content-Length `announced` is at most `most` bytes; true without that header."""
    if announced is None:
        return True
    size = parse_decimal(announced.decode("latin-1"))
    return size is not None and size <= most


_UNAUTHORIZED = WebhookRefusal(
    401,
    "The Authorization header is not the registered one: Helius sends what the webhook was registered with, "
    "HELIUS_WEBHOOK_SECRET (docs/indexer.md).",
)
