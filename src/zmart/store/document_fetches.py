"""Store which documents of markets are still to be fetched from IPFS.

Triggers on the table markets insert the rows. A row is deleted once its document is stored; until then the fetch is
retried after growing pauses.
"""

from __future__ import annotations

import msgspec

from zmart.market.types import MarketId
from zmart.store.clock_set_back import SLACK_S
from zmart.store.error_text import storable
from zmart.store.pool import Pool

FIRST_PAUSE_S = 5
LONGEST_PAUSE_S = 6 * 3_600

# Due rows that need no fetching any more are deleted. If a document and its market were inserted by two transactions at
# the same time, neither published the document; an update that changes nothing publishes it.
_DROP_DONE = """
WITH known AS (
    DELETE FROM document_fetches f USING market_documents d
    WHERE f.next_attempt_at <= now() AND d.market_id = f.market_id AND d.cid = f.cid RETURNING d.market_id, d.cid
), gone AS (
    DELETE FROM document_fetches f WHERE f.next_attempt_at <= now() AND NOT EXISTS (
        SELECT FROM markets m WHERE m.market_id = f.market_id AND m.question_cid = f.cid)
)
UPDATE market_documents d SET problem = d.problem FROM known k WHERE (d.market_id, d.cid) = (k.market_id, k.cid)
"""
# No pause is longer than the one that the number of attempts gives: the clock was set back.
_END_PAUSES_AHEAD = f"""
UPDATE document_fetches SET next_attempt_at = now()
WHERE next_attempt_at > now() + interval '{SLACK_S} s'
  AND next_attempt_at > now() + make_interval(secs => {SLACK_S} + least($2, $1 * 2 ^ least(attempts - 1, 20)))
"""
# The pause is written before the attempt: a process that is killed during the attempt leaves nothing to clean up.
_CLAIM = """
WITH due AS (
    SELECT market_id FROM document_fetches WHERE next_attempt_at <= now() AND (attempts = 0) = $1
    ORDER BY next_attempt_at, market_id LIMIT 1 FOR UPDATE SKIP LOCKED
)
UPDATE document_fetches f SET attempts = f.attempts + 1,
    next_attempt_at = now() + make_interval(secs => least($3, $2 * 2 ^ least(f.attempts, 20)))
FROM due WHERE f.market_id = due.market_id RETURNING f.market_id, f.cid
"""
_FAILED = "UPDATE document_fetches SET last_error = $3 WHERE market_id = $1 AND cid = $2"
_DONE = "DELETE FROM document_fetches WHERE market_id = $1 AND cid = $2"
_RETRY_ALL = "UPDATE document_fetches SET next_attempt_at = now() WHERE next_attempt_at > now()"
_WAITING = "SELECT count(*) FROM document_fetches"


class DocumentFetch(msgspec.Struct, frozen=True):
    """A market, and the CID of its document as the market's account on chain holds it. The program accepts any text, so
    `cid` may not be a valid CID."""

    market_id: MarketId
    cid: str


async def drop_done(pool: Pool) -> None:
    """Delete due rows that need no fetching any more: the document is stored, or no market has the CID any more."""
    await pool.execute(_DROP_DONE)


async def end_pauses_ahead(pool: Pool) -> None:
    """Make the rows due whose pause ends later than one that begins now: the database's clock was set back since."""
    await pool.execute(_END_PAUSES_AHEAD, float(FIRST_PAUSE_S), float(LONGEST_PAUSE_S))


async def claim(pool: Pool, *, is_first: bool) -> DocumentFetch | None:
    """Return a due row, one without earlier attempts if `is_first`, otherwise one to retry; None if none is due. No
    other caller gets the row before its pause is over: 5 seconds, doubled with each attempt up to 6 hours."""
    row = await pool.fetchrow(_CLAIM, is_first, float(FIRST_PAUSE_S), float(LONGEST_PAUSE_S))
    return None if row is None else DocumentFetch(**row)


async def retry_all(pool: Pool) -> None:
    """Make every row due now. After a restart or a restore, the causes of the last failures may be gone."""
    await pool.execute(_RETRY_ALL)


async def failed(pool: Pool, fetch: DocumentFetch, error: str) -> None:
    """Record the first 500 characters of the error for which a document could not be fetched."""
    await pool.execute(_FAILED, fetch.market_id, fetch.cid, storable(error, 500))


async def done(pool: Pool, fetch: DocumentFetch) -> None:
    """Delete the row of a fetch whose document is stored."""
    await pool.execute(_DONE, fetch.market_id, fetch.cid)


async def waiting(pool: Pool) -> int:
    """Return how many documents are still to be fetched."""
    number: int = await pool.fetchval(_WAITING)
    return number
