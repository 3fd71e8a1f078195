"""Tests that every table takes the text of an error as it came from outside: with NUL, half of a surrogate pair, and at
any length."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from kit import rows
from kit.wallets import market_id
from zmart.market.types import MarketId, Signature
from zmart.store import (
    alerts,
    anchors,
    deliveries,
    dispute_reviews,
    document_fetches,
    documents,
    inbox,
    intents,
    market_work,
    service_status,
)
from zmart.store.document_fetches import DocumentFetch
from zmart.store.documents import FetchedDocument
from zmart.store.inbox import FetchFailure, Hint, InboxFailure
from zmart.store.intents import Action, Journal
from zmart.store.market_work import Job
from zmart.store.pool import Pool

MARKET = MarketId(market_id(1))
HOSTILE = "a name with \0, and half of a pair: \ud800. " + "long " * 100_000


async def _alert(pool: Pool) -> str:
    await alerts.raise_alert(pool, "test", "warning", HOSTILE)
    return await pool.fetchval("SELECT message FROM alerts")


async def _anchor(pool: Pool) -> str:
    await anchors.failed(
        pool, await documents.anchor(pool, "evidence", MARKET, "Qm", b"bytes", "local"), HOSTILE
    )
    return await pool.fetchval("SELECT last_error FROM ipfs_anchors")


async def _document(pool: Pool) -> str:
    document = FetchedDocument(market_id=MARKET, cid="Qm", problem=HOSTILE)
    await documents.add_fetched(pool, document, "Qm", "local")
    return await pool.fetchval("SELECT problem FROM market_documents")


async def _document_fetch(pool: Pool) -> str:
    await rows.add_markets(pool, [rows.market_fold(MARKET, question_cid="Qm")])
    await document_fetches.failed(pool, DocumentFetch(MARKET, "Qm"), HOSTILE)
    return await pool.fetchval("SELECT last_error FROM document_fetches")


async def _intent(pool: Pool) -> str:
    planned = await intents.plan(pool, MARKET, Action.FINALIZE_MARKET, 0, {})
    async with pool.acquire() as connection:
        journal = Journal(connection)
        await journal.mark_failed(str(planned.id), -1, HOSTILE, HOSTILE)
        await journal.mark_uncertain(str(planned.id), HOSTILE)
    return await pool.fetchval("SELECT error FROM intents")


async def _job(pool: Pool) -> str:
    assert not (await market_work.failed(pool, MARKET, Job.FINALIZE, HOSTILE)).same_error
    assert (await market_work.failed(pool, MARKET, Job.FINALIZE, HOSTILE)).same_error
    await market_work.note(pool, MARKET, Job.FINALIZE, "waiting", reason=HOSTILE)
    return await pool.fetchval("SELECT last_error FROM market_work")


async def _inbox(pool: Pool) -> str:
    await inbox.store(pool, "logs", [Hint(Signature("1" * 64), None, None)])
    number = await pool.fetchval("SELECT id FROM inbox")
    await inbox.unfetched(pool, [FetchFailure(id=number, error=HOSTILE)])
    await inbox.defer(pool, [number], HOSTILE)
    await inbox.failed(pool, [InboxFailure(id=number, error=HOSTILE)])
    return await pool.fetchval("SELECT last_error FROM inbox")


async def _delivery(pool: Pool) -> str:
    await pool.execute(
        "INSERT INTO unconfirmed_transactions (slot, signature, digest, received_at) VALUES (7, $1, $2, now())",
        "1" * 64,
        b"x" * 32,
    )
    await deliveries.unanswered(pool, [(each, HOSTILE) for each in await deliveries.claim(pool, 1, 0.0)], 1.0)
    return await pool.fetchval("SELECT last_error FROM unconfirmed_transactions")


async def _review(pool: Pool) -> str:
    await dispute_reviews.request(pool, MARKET, [HOSTILE])
    await dispute_reviews.release(pool, MARKET, "1" * 32, HOSTILE)
    return await pool.fetchval("SELECT reasons[1] FROM dispute_reviews")


async def _report(pool: Pool) -> str:
    await service_status.report(pool, "monitor", "host:1", False, HOSTILE, {"errors": [{HOSTILE: HOSTILE}]})
    return await pool.fetchval("SELECT reason FROM service_status")


STORED = [
    _alert, _anchor, _delivery, _document, _document_fetch, _inbox, _intent, _job, _report, _review,
]  # fmt: skip


@pytest.mark.parametrize("stored", STORED, ids=lambda stored: stored.__name__.strip("_"))
async def test_an_error_that_quotes_anything_is_stored_with_its_row(
    pool: Pool, stored: Callable[[Pool], Awaitable[str]]
) -> None:
    """A document with a NUL in the name of a field ended each tick of documents, and was requested without end."""
    text = await stored(pool)
    assert text.startswith("a name with \ufffd, and half of a pair: \ufffd. long ")
    assert len(text) <= 10_000
