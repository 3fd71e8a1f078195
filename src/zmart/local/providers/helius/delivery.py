"""Post transactions to one webhook from a bounded queue, with a few posts at a time and three retries of each."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Iterator

import httpx
import msgspec
import structlog

from zmart.errors import ChainError
from zmart.local.providers import metrics
from zmart.local.providers.helius.payloads import RawTransaction, TransactionSource, enhanced, meta_of
from zmart.local.providers.helius.registry import RegisteredWebhook
from zmart.market.types import Signature

QUEUE_MAX = 1_000
RETRIES = 3
RETRY_GAP_S = 1.0
ACKNOWLEDGE_WITHIN_S = 1.0
DISABLE_AFTER = 50
CONCURRENCY = 4

_PER_POST_MAX = 10
_REMEMBERED = 4_096
_log = structlog.get_logger(__name__)


class WebhookPoster:
    """Deliver transactions to one webhook, at most `concurrency` posts at a time.

    `on_failing()` is called for each post that is lost after its retries, from the `disable_after`th in a row on.
    """

    def __init__(
        self,
        webhook: RegisteredWebhook,
        source: TransactionSource,
        http: httpx.AsyncClient,
        *,
        queue_max: int = QUEUE_MAX,
        concurrency: int = CONCURRENCY,
        retry_gap_s: float = RETRY_GAP_S,
        disable_after: int = DISABLE_AFTER,
        on_failing: Callable[[], None] = lambda: None,
    ) -> None:
        self.webhook = webhook
        self._disable_after = disable_after
        self._on_failing = on_failing
        self._failed_posts = 0
        self._source = source
        self._http = http
        self._retry_gap_s = retry_gap_s
        self._queue: asyncio.Queue[Signature] = asyncio.Queue(queue_max)
        self._seen: OrderedDict[Signature, None] = OrderedDict()
        self._workers = [asyncio.create_task(self._work()) for _ in range(concurrency)]

    def offer(self, signature: Signature) -> None:
        """Queue a transaction without waiting; it is dropped if the queue is full.

        A signature that was offered recently is ignored: a transaction may be offered once for each of several
        addresses.
        """
        if signature in self._seen:
            return
        self._seen[signature] = None
        if len(self._seen) > _REMEMBERED:
            self._seen.popitem(last=False)
        try:
            self._queue.put_nowait(signature)
        except asyncio.QueueFull:
            metrics.HINTS.labels("overflow").inc()

    async def close(self) -> None:
        """Stop posting. Transactions that are not posted yet are lost to the webhook."""
        for worker in self._workers:
            worker.cancel()
        await asyncio.gather(*self._workers, return_exceptions=True)

    async def _work(self) -> None:
        while True:
            signatures = [await self._queue.get(), *self._waiting()]
            fetched = await asyncio.gather(*map(self._fetch, signatures))
            if matching := [transaction for transaction in fetched if transaction is not None]:
                await self._deliver(matching)

    def _waiting(self) -> Iterator[Signature]:
        for _ in range(min(self._queue.qsize(), _PER_POST_MAX - 1)):
            yield self._queue.get_nowait()

    async def _fetch(self, signature: Signature) -> RawTransaction | None:
        try:
            transaction = await self._source.fetch(signature)
        except ChainError as problem:
            _log.warning("transaction not fetched", signature=signature, reason=str(problem))
            transaction = None
        if transaction is None:
            metrics.HINTS.labels("unfindable").inc()
            return None
        return transaction if self._wants(transaction) else None

    def _wants(self, transaction: RawTransaction) -> bool:
        failed = meta_of(transaction).err is not None
        if failed and self.webhook.webhook_type.startswith("enhanced"):
            return False  # as documented: only raw webhooks deliver failed transactions
        return self.webhook.txn_status == "all" or (self.webhook.txn_status == "failed") == failed

    async def _deliver(self, transactions: list[RawTransaction]) -> None:
        is_raw = self.webhook.webhook_type.startswith("raw")
        body = msgspec.json.encode(transactions if is_raw else [enhanced(each) for each in transactions])
        headers = {"content-type": "application/json", "authorization": self.webhook.auth_header}
        if not self.webhook.auth_header:
            del headers["authorization"]
        for attempt in range(1 + RETRIES):
            if attempt:
                await asyncio.sleep(self._retry_gap_s)
            response = await self._post(body, headers)
            metrics.POSTS.labels(response).inc()
            if response.startswith("2"):
                metrics.HINTS.labels("delivered").inc(len(transactions))
                self._failed_posts = 0
                return
            if response == "403":
                break
        metrics.HINTS.labels("dropped").inc(len(transactions))
        _log.warning(
            "webhook transactions dropped",
            url=self.webhook.webhook_url,
            response=response,
            count=len(transactions),
        )
        self._failed_posts += 1
        if self._failed_posts >= self._disable_after:
            self._on_failing()

    async def _post(self, body: bytes, headers: dict[str, str]) -> str:
        """Post once, and return the HTTP status of the response, or the name of the exception if there was none."""
        try:
            async with self._http.stream(
                "POST", self.webhook.webhook_url, content=body, headers=headers, timeout=ACKNOWLEDGE_WITHIN_S
            ) as response:
                return str(response.status_code)
        except (httpx.HTTPError, httpx.InvalidURL) as problem:
            return type(problem).__name__
