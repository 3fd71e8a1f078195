"""Find the results of disputes that a person should review, and release them for finalization."""

from __future__ import annotations

from zmart.errors import Conflict
from zmart.market.dispute_review import review_reasons
from zmart.market.eligibility import Rule, RuleKind
from zmart.market.tally import Tally
from zmart.market.types import Bps, ChainTime, MarketId
from zmart.store import alerts, dispute_reviews, market_work, vote_log
from zmart.store.dispute_reviews import DisputeReviewRow
from zmart.store.pool import Pool
from zmart.store.tallies import TallyRow


async def reasons_for_review(pool: Pool, row: TallyRow, created_at: ChainTime, margin_bps: Bps) -> list[str]:
    """Return why the counted result of a dispute needs a review; an empty list if it needs none.

    `created_at` is when the market was created. A result within `margin_bps` basis points of the threshold is close.
    """
    rule, young = Rule.parse(row.rule), Tally(0, 0)
    if rule.kind is not RuleKind.LISTED:  # listed wallets are known, however new they are
        all_voters = rule.kind is RuleKind.OPEN
        young = await vote_log.young_voters(
            pool, row.market_id, row.kind, row.log_size, created_at, all_voters=all_voters
        )
    return review_reasons(row.tally, young, row.threshold_bps, row.min_votes, margin_bps)


async def release(pool: Pool, market_id: MarketId, by: str, note: str) -> DisputeReviewRow:
    """Release a dispute from review, so that it is finalized by its votes, and return the review.

    `by` and `note` are stored with it. Raises Conflict when no review of the market waits.
    """
    released = await dispute_reviews.release(pool, market_id, by, note)
    if released is None:
        raise Conflict(f"No result of a dispute of market {market_id} waits for review.")
    await alerts.resolve_alert(pool, f"dispute review:{market_id}")
    await market_work.without_pause(pool, market_id)
    return released
