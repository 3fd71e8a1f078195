"""Store and pin the documents of a market: its question, and the evidence of its outcome."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec
import structlog

from zmart.ipfs.cid import cid_of
from zmart.ipfs.pinning import PinError
from zmart.market.types import Address, MarketId, Wallet
from zmart.proofs import market_document
from zmart.proofs.market_document import MarketDocument, MarketDraft
from zmart.services.gateway.context import AppContext
from zmart.services.gateway.http.rate_limiting import QuotaUse, within_quotas
from zmart.store import documents
from zmart.store.documents import Document

log = structlog.get_logger()

_NO_PROVIDER = "none"


class StoredQuestion(msgspec.Struct, frozen=True):
    """A stored question. `anchor` is the id of the record of its pin; None if the question is not to be pinned yet."""

    document: Document
    anchor: int | None


def question(program: Address, market_id: MarketId, creator: Wallet, draft: MarketDraft) -> Document:
    """Return a market's question with its canonical document and the CID of that, which anyone can compute again.
    Raises Invalid for a text that breaks the rules of market documents."""
    raw = market_document.compose(
        MarketDocument(program=program, market_id=market_id, creator=creator, **msgspec.structs.asdict(draft))
    )
    return Document(
        market_id=market_id,
        creator=creator,
        question=draft.question,
        description=draft.description,
        category=draft.category,
        tags=list(draft.tags),
        ends_at=draft.ends_at,
        cid=cid_of(raw, 0),
        document=raw,
        created_at=datetime.now(UTC),
    )


def evidence(cid: str | None, text: str | None) -> tuple[str, bytes | None]:
    """Return the CID of the evidence and its bytes; exactly one of `cid` and `text` is given. The bytes are None if the
    evidence was given as `cid`: it is stored elsewhere then."""
    if cid is not None:
        return cid, None
    assert text is not None, "the body gives either"
    raw = text.encode()
    return cid_of(raw, 0), raw


async def keep_question(
    context: AppContext,
    new_id: MarketId,
    creator: Wallet,
    draft: MarketDraft,
    uses: Sequence[QuotaUse],
    *,
    is_pinned: bool = True,
) -> StoredQuestion:
    """Store a question as a draft under `new_id`, with the record of a pin that is still to be made, and count it by
    the quotas `uses`. Raises TooManyRequests beyond one of them.

    If the creator has an equal draft already, as after a request whose answer was lost, that draft is returned with its
    own id instead, and counted only if it gets a pin now. With `is_pinned` False no pin is recorded.
    """
    provider = _provider(context) if is_pinned else None
    same = await _equal_draft(context, creator, draft)
    if same is not None:
        if provider is None:
            return StoredQuestion(same, None)
        anchor = await documents.anchor_of_question(context.pool, same, provider)
        if anchor is None:
            async with within_quotas(context.limiter, *uses):
                anchor = await documents.add_anchor_of_question(context.pool, same, provider)
        return StoredQuestion(same, anchor)
    document = question(context.program.address, new_id, creator, draft)
    async with within_quotas(context.limiter, *uses):
        return StoredQuestion(document, await documents.add(context.pool, document, provider))


async def _equal_draft(context: AppContext, creator: Wallet, draft: MarketDraft) -> Document | None:
    for stored in await documents.drafts_with_question(context.pool, creator, draft.question):
        same = question(context.program.address, stored.market_id, creator, draft)
        if same.cid == stored.cid:
            return same
    return None


async def pin_question(context: AppContext, stored: StoredQuestion) -> None:
    """Pin a stored question, unless it is not to be pinned yet. If the provider is unavailable or slow, the pin stays
    open and the snapshot service tries again."""
    document = stored.document
    if stored.anchor is not None:
        name = f"zmart-question-{document.market_id}"
        await _pin(context, stored.anchor, document.cid, document.document, name)


async def keep_evidence(
    context: AppContext, market_id: MarketId, cid: str, raw: bytes, uses: Sequence[QuotaUse]
) -> None:
    """Store the evidence of a market's outcome, count it by the quotas `uses`, and pin it. If the pin fails, it stays
    open and the snapshot service tries again. Raises TooManyRequests beyond a quota."""
    async with within_quotas(context.limiter, *uses):
        anchor = await documents.anchor(context.pool, "evidence", market_id, cid, raw, _provider(context))
    await _pin(context, anchor, cid, raw, f"zmart-evidence-{market_id}")


async def _pin(context: AppContext, anchor: int, cid: str, raw: bytes, name: str) -> None:
    if context.pins is None:
        return
    try:
        async with asyncio.timeout(context.settings.pin_wait_s):
            pinned = await context.pins.pin(raw, name, cid_version=0)
    except (PinError, TimeoutError) as problem:
        log.warning("document not pinned yet", cid=cid, reason=str(problem) or "the provider is slow")
        return
    await documents.pinned(context.pool, anchor, pinned.provider_id)


def _provider(context: AppContext) -> str:
    return _NO_PROVIDER if context.pins is None else context.pins.name
