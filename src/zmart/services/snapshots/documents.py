"""Fetch the question documents of markets created elsewhere from the IPFS gateway, by the CID on chain.

A document that is unavailable is requested again without limit, at growing intervals. Only bytes that hash to the CID
are validated, and the result of the validation is permanent.
"""

from __future__ import annotations

import asyncio

import structlog

from zmart.errors import Invalid, StoreError, reason_of
from zmart.ipfs.cid import cid_of, parse_cid, same_file
from zmart.ipfs.gateway import fetch_from_gateway
from zmart.ipfs.pinning import PinError
from zmart.proofs import market_document
from zmart.services.snapshots import metrics
from zmart.store import document_fetches, documents
from zmart.store.document_fetches import DocumentFetch
from zmart.store.documents import FetchedDocument
from zmart.store.pool import Pool

FETCH_WITHIN_S = 15.0
# A gateway searches long for a document that no node has. So repeated requests have slots of their own, and no first
# request waits for a repeated one.
_FIRST_CONCURRENCY, _REPEAT_CONCURRENCY = 4, 2
_MAX_PER_SLOT = 5

log = structlog.get_logger()


class DocumentFetcher:
    """Fetch documents and store them; `provider` names the provider at which PinKeeper then pins them."""

    def __init__(self, pool: Pool, gateway_url: str, provider: str, within_s: float = FETCH_WITHIN_S) -> None:
        self._pool = pool
        self._gateway_url = gateway_url
        self._provider = provider
        self._within_s = within_s
        self._slots = {
            True: asyncio.Semaphore(_FIRST_CONCURRENCY),
            False: asyncio.Semaphore(_REPEAT_CONCURRENCY),
        }

    async def fetch_due(self) -> int:
        """Fetch up to 30 of the documents that are due, and return how many were requested.

        Concurrent calls together make no more requests at once than a single call.
        """
        await documents.anchor_landed(self._pool, self._provider)
        await document_fetches.end_pauses_ahead(self._pool)
        await document_fetches.drop_done(self._pool)
        tried = await asyncio.gather(
            *(self._work(True) for _ in range(_FIRST_CONCURRENCY)),
            *(self._work(False) for _ in range(_REPEAT_CONCURRENCY)),
        )
        return sum(tried)

    async def _work(self, is_first: bool) -> int:
        if self._slots[is_first].locked():
            return 0
        async with self._slots[is_first]:
            for number in range(_MAX_PER_SLOT):
                fetch = await document_fetches.claim(self._pool, is_first=is_first)
                if fetch is None:
                    return number
                await self._fetch(fetch)
        return _MAX_PER_SLOT

    async def _fetch(self, fetch: DocumentFetch) -> None:
        try:
            document = await self._find(fetch)
            await documents.add_fetched(self._pool, document, _pin_cid(document), self._provider)
            await document_fetches.done(self._pool, fetch)
        except StoreError:
            raise
        except (PinError, TimeoutError) as problem:
            reason = str(problem) or f"The gateway did not send {fetch.cid} within {self._within_s:g} s."
            log.info(
                "document of a market not found yet", market=fetch.market_id, cid=fetch.cid, reason=reason
            )
            await self._failed(fetch, reason)
        except Exception as problem:  # whatever it is, the other documents are still to be fetched
            log.exception("document of a market not stored", market=fetch.market_id, cid=fetch.cid)
            await self._failed(fetch, reason_of(problem))
        else:
            outcome = "rejected" if document.problem else "stored"
            metrics.documents.labels(outcome).inc()
            log.info("document of a market fetched", market=fetch.market_id, cid=fetch.cid, outcome=outcome)

    async def _failed(self, fetch: DocumentFetch, reason: str) -> None:
        metrics.documents.labels("failed").inc()
        await document_fetches.failed(self._pool, fetch, reason)

    async def _find(self, fetch: DocumentFetch) -> FetchedDocument:
        try:
            parse_cid(fetch.cid)
        except Invalid as problem:
            return FetchedDocument(market_id=fetch.market_id, cid=fetch.cid, problem=str(problem))
        raw = await documents.content_of(self._pool, fetch.cid)
        if raw is None or not same_file(fetch.cid, raw):
            async with asyncio.timeout(self._within_s):
                raw = await fetch_from_gateway(
                    self._gateway_url, fetch.cid, max_bytes=market_document.MAX_BYTES
                )
        return _judged(fetch, raw)


def _pin_cid(document: FetchedDocument) -> str:
    """Return the CID under which the provider is to pin a fetched document.

    That is the document's own CID if our encoding of the same version gives it. Otherwise it is the CIDv0 of the bytes:
    a CIDv1 may have been made with the layout of version 0.
    """
    if (
        document.document is None
        or cid_of(document.document, parse_cid(document.cid).version) == document.cid
    ):
        return document.cid
    return cid_of(document.document, 0)


def _judged(fetch: DocumentFetch, raw: bytes) -> FetchedDocument:
    """Validate the bytes of a document and return its fields, or its problem if it is invalid."""
    try:
        text = market_document.read(raw)
    except Invalid as problem:
        return FetchedDocument(market_id=fetch.market_id, cid=fetch.cid, problem=str(problem))
    return FetchedDocument(
        market_id=fetch.market_id,
        cid=fetch.cid,
        question=text.question,
        description=text.description,
        category=text.category,
        tags=text.tags,
        ends_at=text.ends_at,
        document=raw,
    )
