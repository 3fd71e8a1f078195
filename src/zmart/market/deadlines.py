"""Compute when a vote or a waiting time is over, in seconds of chain time, from our policy and the program's
config."""

from __future__ import annotations

import msgspec

from zmart.market.types import ChainTime

_HOUR_S = 3_600
_DAY_S = 24 * _HOUR_S


class Deadlines(msgspec.Struct, frozen=True, kw_only=True):
    """Hold the waiting times of a market, in seconds of chain time.

    `resolution_s`: how long a proposed resolution may be disputed. `dispute_s`: how long votes on a dispute count.
    `proposal_s`: how long a proposal may wait for approval. `safety_s`: how much later than the deadline the backend
    acts, so that nothing that arrived in time is missed.
    """

    resolution_s: int
    dispute_s: int
    proposal_s: int
    safety_s: int

    @classmethod
    def of(
        cls,
        *,
        dispute_window_hours: int,
        dispute_period_s: int,
        dispute_voting_hours: int,
        proposal_ttl_days: int,
        safety_s: int,
    ) -> Deadlines:
        """Build the deadlines from settings; the dispute window is never shorter than GlobalConfig's
        `dispute_period_s`."""
        return cls(
            resolution_s=max(dispute_window_hours * _HOUR_S, dispute_period_s),
            dispute_s=dispute_voting_hours * _HOUR_S,
            proposal_s=proposal_ttl_days * _DAY_S,
            safety_s=safety_s,
        )

    def window_closes_at(self, resolution_proposed_at: ChainTime) -> ChainTime:
        """Return the last moment at which a proposed resolution can be disputed."""
        return ChainTime(resolution_proposed_at + self.resolution_s)

    def dispute_closes_at(self, dispute_initiated_at: ChainTime) -> ChainTime:
        """Return the last moment at which votes on a dispute count."""
        return ChainTime(dispute_initiated_at + self.dispute_s)

    def proposal_closes_at(self, created_at: ChainTime) -> ChainTime:
        """Return the moment at which a proposal that was not approved has failed."""
        return ChainTime(created_at + self.proposal_s)

    def due_at(self, closes_at: ChainTime) -> ChainTime:
        """Return when the backend acts on a deadline: `safety_s` after it."""
        return ChainTime(closes_at + self.safety_s)
