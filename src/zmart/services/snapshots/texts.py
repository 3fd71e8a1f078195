"""Fetches the texts of markets that were made elsewhere, by the CID on chain, from the IPFS gateway.

What cannot be had is asked for again, with growing pauses, for ever. Only bytes that hash to the CID are judged: then
they are a market document or they are none, and neither changes any more.
"""

from __future__ import annotations

import asyncio

import structlog

from zmart.errors import Invalid
from zmart.ipfs.cid import cid_of, parse_cid, same_file
from zmart.ipfs.pinning import PinError, fetch_from_gateway
from zmart.proofs import market_document
from zmart.services.snapshots import metrics
from zmart.store import document_fetches, documents
from zmart.store.document_fetches import Fetch
from zmart.store.documents import FetchedDocument
from zmart.store.pool import Pool

FETCH_WITHIN_S = 15.0
# A gateway searches long for what nobody has. So what it did not find before has places of its own, and a text that is
# asked for the first time never waits for those.
_FIRST_AT_ONCE, _AGAIN_AT_ONCE = 4, 2
_MOST_EACH = 5

log = structlog.get_logger()


class TextFetcher:
    """`provider` is where texts that were found are pinned, by the Keeper."""

    def __init__(self, pool: Pool, gateway_url: str, provider: str, within_s: float = FETCH_WITHIN_S) -> None:
        self._pool = pool
        self._gateway_url = gateway_url
        self._provider = provider
        self._within_s = within_s
        self._places = {
            True: asyncio.Semaphore(_FIRST_AT_ONCE),
            False: asyncio.Semaphore(_AGAIN_AT_ONCE),
        }

    async def look(self) -> None:
        """Some of what is due. Looks may overlap: together they fetch no more at once than one."""
        await document_fetches.drop_done(self._pool)
        await asyncio.gather(
            *(self._work(True) for _ in range(_FIRST_AT_ONCE)),
            *(self._work(False) for _ in range(_AGAIN_AT_ONCE)),
        )

    async def _work(self, is_first: bool) -> None:
        if self._places[is_first].locked():
            return
        async with self._places[is_first]:
            for _ in range(_MOST_EACH):
                fetch = await document_fetches.claim(self._pool, is_first=is_first)
                if fetch is None:
                    return
                await self._settle(fetch)

    async def _settle(self, fetch: Fetch) -> None:
        try:
            found = await self._find(fetch)
        except (PinError, TimeoutError) as problem:
            reason = str(problem) or f"The gateway did not send {fetch.cid} within {self._within_s:g} s."
            metrics.texts.labels("failed").inc()
            log.info("text of a market not found yet", market=fetch.market_id, cid=fetch.cid, reason=reason)
            await document_fetches.failed(self._pool, fetch, reason)
            return
        await documents.add_fetched(self._pool, found, _pin_cid(found), self._provider)
        await document_fetches.done(self._pool, fetch)
        metrics.texts.labels("rejected" if found.problem else "stored").inc()

    async def _find(self, fetch: Fetch) -> FetchedDocument:
        try:
            parse_cid(fetch.cid)
        except Invalid as problem:
            return FetchedDocument(market_id=fetch.market_id, cid=fetch.cid, problem=str(problem))
        raw = await documents.held(self._pool, fetch.cid)
        if raw is None or not same_file(fetch.cid, raw):
            async with asyncio.timeout(self._within_s):
                raw = await fetch_from_gateway(
                    self._gateway_url, fetch.cid, max_bytes=market_document.MAX_BYTES
                )
        return _judged(fetch, raw)


def _pin_cid(found: FetchedDocument) -> str:
    """The CID under which a provider takes the bytes: a CIDv1 may be written over the layout of version 0."""
    if found.document is None or cid_of(found.document, parse_cid(found.cid).version) == found.cid:
        return found.cid
    return cid_of(found.document, 0)


def _judged(fetch: Fetch, raw: bytes) -> FetchedDocument:
    """`raw` hashes to the CID."""
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
