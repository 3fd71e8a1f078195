"""When a vote or a waiting time is over: our policy and the program's rules in one place, in seconds of chain time."""

from __future__ import annotations

import msgspec

from zmart.market.types import ChainTime

_HOUR_S = 3_600
_DAY_S = 24 * _HOUR_S


class Deadlines(msgspec.Struct, frozen=True, kw_only=True):
    """How long a market waits: after a proposed resolution for a dispute, in a dispute for votes, as a proposal for
    approval; and how much longer until it is acted upon (`safety_s`), so that nothing that was in time is missed."""

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
        """Our own policy, but never less than GlobalConfig's `dispute_period_s`."""
        return cls(
            resolution_s=max(dispute_window_hours * _HOUR_S, dispute_period_s),
            dispute_s=dispute_voting_hours * _HOUR_S,
            proposal_s=proposal_ttl_days * _DAY_S,
            safety_s=safety_s,
        )

    def window_closes_at(self, resolution_proposed_at: ChainTime) -> ChainTime:
        """Until then a proposed resolution can be disputed."""
        return ChainTime(resolution_proposed_at + self.resolution_s)

    def dispute_closes_at(self, dispute_initiated_at: ChainTime) -> ChainTime:
        """Votes on a dispute count until then."""
        return ChainTime(dispute_initiated_at + self.dispute_s)

    def proposal_closes_at(self, created_at: ChainTime) -> ChainTime:
        """A proposal that was not approved by then has failed."""
        return ChainTime(created_at + self.proposal_s)

    def due_at(self, closes_at: ChainTime) -> ChainTime:
        """When what closes then is finalized."""
        return ChainTime(closes_at + self.safety_s)
