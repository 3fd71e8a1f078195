"""Test of the list of disputes' reviews, as the operator's command shows it."""

from __future__ import annotations

from kit.wallets import market_id
from zmart.store import dispute_reviews
from zmart.store.pool import Pool


async def test_reviews_that_wait_come_first_and_then_those_released_last(pool: Pool) -> None:
    """Waiting reviews come first; above the limit, the reviews that were released first are left out."""
    for number in range(1, 6):
        await dispute_reviews.request(pool, market_id(number), ["The result is close."])
    for number in (3, 1, 4):
        await dispute_reviews.release(pool, market_id(number), "the operator", "It holds.")
    listed = [row.market_id for row in await dispute_reviews.newest(pool, 4)]
    assert listed == [market_id(number) for number in (5, 2, 4, 1)]
