"""Store the documents of markets: drafts before a market exists on chain, and documents fetched by a market's CID.

A document belongs to a market only if its hash is the CID in the market's account: the market id alone proves nothing,
because a creator may choose any id.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import msgspec

from zmart.market.types import MarketId, Wallet
from zmart.store.error_text import storable
from zmart.store.pool import Connection, Pool

OF_MARKET = "d.market_id = m.market_id AND d.cid = m.question_cid"
"""SQL condition that joins markets `m` with their documents `d`. It does not match a draft under the same market id
with another CID."""

_COLUMNS = """d.market_id, d.creator, d.question, d.description, d.category, d.tags, d.ends_at, d.cid, d.document,
d.created_at"""
_ADD = """
INSERT INTO market_documents (market_id, creator, question, description, category, tags, ends_at, cid, document)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
"""
_ADD_FETCHED = """
INSERT INTO market_documents (market_id, question, description, category, tags, ends_at, cid, document, problem)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (market_id, cid) DO NOTHING
"""
_HELD = "SELECT document FROM market_documents WHERE cid = $1 AND document IS NOT NULL LIMIT 1"
_ANCHOR = """
INSERT INTO ipfs_anchors (kind, market_id, cid, content, size_bytes, provider) VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (market_id, kind, snapshot_day, cid, provider) DO UPDATE SET cid = excluded.cid RETURNING id
"""
_ANCHOR_OF_QUESTION = """
SELECT id FROM ipfs_anchors WHERE market_id = $1 AND kind = 'question' AND cid = $2 AND provider = $3
AND snapshot_day IS NULL
"""
# A draft has no anchor if its author's wallet did not hold the required deposit.
_ANCHOR_LANDED = f"""
INSERT INTO ipfs_anchors (kind, market_id, cid, content, size_bytes, provider)
SELECT 'question', d.market_id, d.cid, d.document, length(d.document), $1
FROM market_documents d JOIN markets m ON {OF_MARKET}
WHERE d.creator IS NOT NULL AND d.document IS NOT NULL AND NOT EXISTS (
    SELECT FROM ipfs_anchors a WHERE a.market_id = d.market_id AND a.kind = 'question' AND a.cid = d.cid)
LIMIT 100 ON CONFLICT (market_id, kind, snapshot_day, cid, provider) DO NOTHING RETURNING id
"""
_DRAFTS_WITH_QUESTION = f"""
SELECT {_COLUMNS} FROM market_documents d WHERE d.creator = $1 AND d.question = $2
AND NOT EXISTS (SELECT 1 FROM markets m WHERE m.market_id = d.market_id)
ORDER BY d.created_at DESC, d.market_id LIMIT 50
"""
_PINNED = "UPDATE ipfs_anchors SET pinned_at = coalesce(pinned_at, now()), provider_id = $2 WHERE id = $1"
_DRAFT = f"""
SELECT {_COLUMNS} FROM market_documents d WHERE d.market_id = $1 AND d.creator = $2
AND NOT EXISTS (SELECT 1 FROM markets m WHERE m.market_id = d.market_id) ORDER BY d.created_at DESC LIMIT 1
"""
# A market of another creator under a draft's id does not hide the draft from its author.
_DRAFTS = f"""
SELECT {_COLUMNS} FROM market_documents d WHERE d.creator = $1
AND NOT EXISTS (SELECT 1 FROM markets m WHERE {OF_MARKET})
ORDER BY d.created_at DESC, d.market_id LIMIT $2
"""


class Document(msgspec.Struct, frozen=True, kw_only=True):
    """A draft of a market by its `creator`; `cid` is the CID of the canonical bytes `document`."""

    market_id: MarketId
    creator: Wallet
    question: str
    description: str
    category: str
    tags: Sequence[str]
    ends_at: datetime | None
    cid: str
    document: bytes
    created_at: datetime


class FetchedDocument(msgspec.Struct, frozen=True, kw_only=True):
    """The content that was fetched for a market's CID. `document` is its bytes. If the content is not a market
    document, `document` is None and `problem` says why."""

    market_id: MarketId
    cid: str
    question: str = ""
    description: str = ""
    category: str = "other"
    tags: Sequence[str] = ()
    ends_at: datetime | None = None
    document: bytes | None = None
    problem: str | None = None


async def add(pool: Pool, document: Document, provider: str | None) -> int | None:
    """Insert a draft and, unless `provider` is None, an anchor to pin it at this provider, in one transaction. Returns
    the id of the anchor; None without a provider."""
    async with pool.transaction() as connection:
        await connection.execute(
            _ADD,
            document.market_id,
            document.creator,
            document.question,
            document.description,
            document.category,
            list(document.tags),
            document.ends_at,
            document.cid,
            document.document,
        )
        if provider is None:
            return None
        return await anchor(
            connection, "question", document.market_id, document.cid, document.document, provider
        )


async def anchor_landed(pool: Pool, provider: str) -> int:
    """Insert anchors, at most 100, for drafts whose market is on chain and that have no anchor. Returns how many were
    inserted."""
    return len(await pool.fetch(_ANCHOR_LANDED, provider))


async def anchor(
    connection: Connection | Pool, kind: str, market_id: MarketId, cid: str, raw: bytes, provider: str
) -> int:
    """Insert an anchor with the bytes `raw` to be pinned, of the kind question or evidence. Returns its id, or the id
    of the same anchor if it exists already."""
    anchor_id: int = await connection.fetchval(_ANCHOR, kind, market_id, cid, raw, len(raw), provider)
    return anchor_id


async def add_fetched(pool: Pool, document: FetchedDocument, pin_cid: str, provider: str) -> None:
    """Insert the fetched content of a market's CID, unless it is stored already. Insert an anchor to pin it under
    `pin_cid`, too, if the content is a market document."""
    async with pool.transaction() as connection:
        await connection.execute(
            _ADD_FETCHED,
            document.market_id,
            document.question,
            document.description,
            document.category,
            list(document.tags),
            document.ends_at,
            document.cid,
            document.document,
            None if document.problem is None else storable(document.problem),
        )
        if document.document is not None:
            await anchor(connection, "question", document.market_id, pin_cid, document.document, provider)


async def content_of(pool: Pool, cid: str) -> bytes | None:
    """Return the bytes of the document with this CID, of any market; None if none is stored."""
    content: bytes | None = await pool.fetchval(_HELD, cid)
    return content


async def pinned(pool: Pool, anchor_id: int, provider_id: str) -> None:
    """Record that a provider pinned the bytes of an anchor; `provider_id` is the provider's id of the pin."""
    await pool.execute(_PINNED, anchor_id, provider_id)


async def anchor_of_question(pool: Pool, document: Document, provider: str) -> int | None:
    """Return the id of the anchor of a stored draft at `provider`; None if it has none."""
    anchor_id: int | None = await pool.fetchval(
        _ANCHOR_OF_QUESTION, document.market_id, document.cid, provider
    )
    return anchor_id


async def add_anchor_of_question(pool: Pool, document: Document, provider: str) -> int:
    """Insert the anchor of a stored draft at `provider`, unless it exists; return its id."""
    return await anchor(pool, "question", document.market_id, document.cid, document.document, provider)


async def drafts_with_question(pool: Pool, creator: Wallet, question: str) -> list[Document]:
    """Return up to 50 drafts of `creator` with this question whose market id is not on chain, the newest first."""
    return [Document(**row) for row in await pool.fetch(_DRAFTS_WITH_QUESTION, creator, question)]


async def draft(pool: Pool, market_id: MarketId, creator: Wallet) -> Document | None:
    """Return the newest draft of `creator` under this market id. Returns None if there is no draft, or if a market
    on chain has the id."""
    row = await pool.fetchrow(_DRAFT, market_id, creator)
    return None if row is None else Document(**row)


async def drafts(pool: Pool, creator: Wallet, limit: int) -> list[Document]:
    """Return up to `limit` drafts of `creator` that did not become markets, the newest first."""
    return [Document(**row) for row in await pool.fetch(_DRAFTS, creator, limit)]
