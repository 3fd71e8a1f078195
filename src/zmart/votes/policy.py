"""Derive the deadlines of votes from the settings and the program's config."""

from __future__ import annotations

from zmart.market.deadlines import Deadlines
from zmart.settings import Settings


def deadlines_of(settings: Settings, dispute_period_s: int) -> Deadlines:
    """Return the deadlines by the settings; `dispute_period_s` is that of the present GlobalConfig, in seconds."""
    return Deadlines.of(
        dispute_window_hours=settings.dispute_window_hours,
        dispute_period_s=dispute_period_s,
        dispute_voting_hours=settings.dispute_voting_hours,
        proposal_ttl_days=settings.proposal_ttl_days,
        safety_s=settings.finalize_safety_s,
    )
