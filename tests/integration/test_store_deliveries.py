"""Test of unconfirmed deliveries: only those that the RPC lists are reported, since anyone can invent others."""

from __future__ import annotations

from zmart.services.indexer.service import _why_unconfirmed
from zmart.store import deliveries
from zmart.store.pool import Pool

_INSERT = """
INSERT INTO unconfirmed_transactions (slot, signature, digest, received_at, listed, last_error)
VALUES ($1, $2, 'd', now() - make_interval(secs => $3), $4, $5)
"""


async def test_only_deliveries_that_the_rpc_lists_are_counted_and_explained(pool: Pool) -> None:
    for slot, signature, age_s, listed, error in (
        (7, "invented", 300.0, False, "not found"),
        (8, "listed", 120.0, True, "quota exceeded"),
        (9, "listed too", 90.0, True, "quota exceeded"),
    ):
        await pool.execute(_INSERT, slot, signature, age_s, listed, error)
    waiting = await deliveries.waiting(pool)
    assert (waiting.number, waiting.listed, waiting.last_error) == (3, 2, "quota exceeded")
    assert _why_unconfirmed(waiting) == (
        "2 deliveries are not confirmed by the RPC, which lists them, the oldest for 120 s (quota exceeded)"
    )
    await pool.execute("DELETE FROM unconfirmed_transactions WHERE listed")
    waiting = await deliveries.waiting(pool)
    assert (waiting.number, waiting.listed, waiting.last_error) == (1, 0, "not found")
    assert _why_unconfirmed(waiting) == ""
