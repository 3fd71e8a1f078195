"""Decide which results of dispute votes a person should review before money moves.

These are close results, and results that the votes of young wallets decide.
"""

from __future__ import annotations

from zmart.market.tally import Tally
from zmart.market.types import Bps


def review_reasons(
    tally: Tally, young: Tally, threshold_bps: Bps, min_votes: int, margin_bps: Bps
) -> list[str]:
    """Return the reasons to review a dispute's result, as sentences; an empty list for a clear result.

    `young` counts the votes of wallets that the index first saw after the market was created. `margin_bps`: a result
    within this many basis points of the threshold, on either side, is close.
    """
    reasons = []
    if abs(tally.bps - threshold_bps) <= margin_bps:
        reasons.append(f"The result is close: {tally.bps} bps agree, the threshold is {threshold_bps} bps.")
    older = Tally(tally.votes_for - young.votes_for, tally.votes_against - young.votes_against)
    if _verdict(older, threshold_bps, min_votes) is not _verdict(tally, threshold_bps, min_votes):
        reasons.append(
            f"The result is carried by {young.total} of {tally.total} votes, whose wallets the index first saw after "
            "the market was created: without them the verdict is another."
        )
    return reasons


def _verdict(tally: Tally, threshold_bps: Bps, min_votes: int) -> bool | None:
    """Return whether the dispute succeeds, or None if there are too few votes."""
    return tally.reaches(threshold_bps) if tally.total >= max(min_votes, 1) else None
