"""Compute when a vote or a waiting time of a market ends, in seconds of chain time.

The times follow from this backend's settings and the program's GlobalConfig.
"""

from __future__ import annotations

import msgspec

from zmart.market.types import ChainTime

_HOUR_S = 3_600
_DAY_S = 24 * _HOUR_S


class Deadlines(msgspec.Struct, frozen=True, kw_only=True):
    """Hold the waiting times of a market, in seconds of chain time.

    `resolution_s`: how long the backend leaves a proposed resolution open before it finalizes the market; the program
    itself accepts disputes only during GlobalConfig's dispute period. `dispute_s`: how long votes on a dispute count.
    `proposal_s`: how long a proposal may wait for approval. `safety_s`: how long after a deadline the backend acts, so
    that it misses nothing that arrived in time.
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
        """Build the waiting times from settings and GlobalConfig's `dispute_period_s`.

        A resolution stays open for `dispute_window_hours`, but never shorter than `dispute_period_s`.
        """
        return cls(
            resolution_s=max(dispute_window_hours * _HOUR_S, dispute_period_s),
            dispute_s=dispute_voting_hours * _HOUR_S,
            proposal_s=proposal_ttl_days * _DAY_S,
            safety_s=safety_s,
        )

    def window_closes_at(self, resolution_proposed_at: ChainTime) -> ChainTime:
        """Return the last moment at which the backend waits for a dispute of a proposed resolution."""
        return ChainTime(resolution_proposed_at + self.resolution_s)

    def dispute_closes_at(self, dispute_initiated_at: ChainTime) -> ChainTime:
        """Return the last moment at which a vote on a dispute counts."""
        return ChainTime(dispute_initiated_at + self.dispute_s)

    def proposal_closes_at(self, created_at: ChainTime) -> ChainTime:
        """Return the moment at which a proposal that was not approved has failed."""
        return ChainTime(created_at + self.proposal_s)

    def due_at(self, closes_at: ChainTime) -> ChainTime:
        """Return the moment at which the backend acts on a deadline: `safety_s` seconds after it."""
        return ChainTime(closes_at + self.safety_s)
