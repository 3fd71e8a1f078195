"""Documents of a market: the question it asks and the evidence of its outcome, stored here and pinned."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import msgspec
import structlog

from zmart.ipfs.cid import cid_of
from zmart.ipfs.pinning import PinError
from zmart.market.types import Address, MarketId, Wallet
from zmart.proofs import market_document
from zmart.proofs.market_document import MarketDocument, MarketDraft
from zmart.services.gateway.context import AppContext
from zmart.store import documents
from zmart.store.documents import Document

log = structlog.get_logger()

_NO_PROVIDER = "none"


class StoredQuestion(msgspec.Struct, frozen=True):
    """A stored question, and the id of its pin; None: it is not to be pinned yet."""

    document: Document
    anchor: int | None


def question(program: Address, market_id: MarketId, creator: Wallet, draft: MarketDraft) -> Document:
    """Return the question as its canonical document, whose CID anyone can compute again. Raises Invalid."""
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
    """The CID to propose with, and the bytes to keep where the evidence was given as text."""
    if cid is not None:
        return cid, None
    assert text is not None, "the body gives either"
    raw = text.encode()
    return cid_of(raw, 0), raw


async def keep_question(
    context: AppContext, new_id: MarketId, creator: Wallet, draft: MarketDraft, *, is_pinned: bool = True
) -> StoredQuestion:
    """Store a question as a draft, its pin still open. A creator who repeats a request that brought no answer gets the
    draft of the first one, with its id. With `is_pinned` False it gets no pin."""
    provider, program = _provider(context) if is_pinned else None, context.program.address
    for stored in await documents.drafts_with_question(context.pool, creator, draft.question):
        same = question(program, stored.market_id, creator, draft)
        if same.cid == stored.cid:
            if provider is None:
                return StoredQuestion(same, None)
            return StoredQuestion(same, await documents.anchor_of_question(context.pool, same, provider))
    document = question(program, new_id, creator, draft)
    return StoredQuestion(document, await documents.add(context.pool, document, provider))


async def pin_question(context: AppContext, stored: StoredQuestion) -> None:
    """Pin a question. The pin of a provider that is unavailable or slow stays open; the snapshot service repeats it."""
    document = stored.document
    if stored.anchor is not None:
        name = f"zmart-question-{document.market_id}"
        await _pin(context, stored.anchor, document.cid, document.document, name)


async def keep_evidence(context: AppContext, market_id: MarketId, cid: str, raw: bytes) -> None:
    """Store the evidence and pin it. A pin that fails stays open; the snapshot service repeats it."""
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
