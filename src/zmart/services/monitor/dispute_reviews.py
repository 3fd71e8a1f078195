"""Apply DISPUTE_REVIEW to results of disputes that are close, or decided by wallets younger than the market."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from zmart.decisions.workers import report_waiting
from zmart.market.types import Bps, ChainTime
from zmart.settings import Settings
from zmart.store import alerts, dispute_reviews
from zmart.store.market_work import WAITS_FOR_REVIEW, Job
from zmart.store.pool import Pool
from zmart.store.tallies import TallyRow
from zmart.votes.reviews import reasons_for_review


@dataclass(frozen=True)
class DisputeReviews:
    """Decide by `mode` whether a dispute's result that needs a review may be finalized.

    `auto` reviews nothing. `alert` lets the result be finalized and raises an alert. `hold` waits for an operator.
    A result within `margin_bps` basis points of the threshold is close.
    """

    mode: Literal["auto", "alert", "hold"]
    margin_bps: Bps

    @classmethod
    def of(cls, settings: Settings) -> DisputeReviews:
        """Read mode and margin from the settings."""
        return cls(settings.dispute_review, Bps(settings.dispute_review_margin_bps))

    async def may_finalize(self, pool: Pool, row: TallyRow, created_at: ChainTime) -> bool:
        """Return whether the dispute may be finalized now by the tally `row`; raise an alert if it needs a review.

        `created_at` is when the market was created.
        """
        if self.mode == "auto":
            return True
        review = await dispute_reviews.find(pool, row.market_id)
        if review is None:
            reasons = await reasons_for_review(pool, row, created_at, self.margin_bps)
            if not reasons:
                return True
            review = await dispute_reviews.request(pool, row.market_id, reasons)
        if not review.waits:
            return True
        what = f"{row.tally.votes_for} to {row.tally.votes_against}. {' '.join(review.reasons)}"
        release = f"`zmart decisions release {row.market_id} --note ...`"
        if self.mode == "alert":
            text = (
                f"The dispute of market {row.market_id} is settled by {what} Close this alert with {release}."
            )
            await alerts.raise_alert(pool, f"dispute review:{row.market_id}", "warning", text)
            return True
        text = f"The dispute of market {row.market_id} has {what} It waits for an operator: {release} settles it."
        await report_waiting(pool, row.market_id, Job.DISPUTE, WAITS_FOR_REVIEW, "warning", text)
        return False
