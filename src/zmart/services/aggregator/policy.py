"""Decide the next step for a proposal: a pure function of what was counted, recorded, and is on chain."""

from __future__ import annotations

from enum import Enum

import msgspec

from zmart.market.tally import Tally
from zmart.market.types import Bps


class Step(Enum):
    """What the aggregator does next with a proposal."""

    WAIT = "wait"
    COUNT = "count"
    """Count the log, write the tally down and plan to record it on chain."""
    RECORD = "record"
    """Bring the planned counts to the chain."""
    APPROVE = "approve"
    REJECT = "reject"


class Policy(msgspec.Struct, frozen=True):
    """The rules for a proposal: `threshold_bps` from GlobalConfig, the rest from our settings."""

    threshold_bps: Bps
    min_votes: int

    def passes(self, tally: Tally) -> bool:
        """Return whether the tally passes with enough votes."""
        return tally.passes(self.threshold_bps, self.min_votes)


class Recorded(msgspec.Struct, frozen=True):
    """The newest tally. `on_chain`: its intent is done; `fresh`: just now, so that a node may not show it yet; `last`:
    taken when voting was over."""

    tally: Tally
    passed: bool
    on_chain: bool
    fresh: bool
    last: bool


def next_step(
    policy: Policy, counts: Tally, expired: bool, recorded: Recorded | None, on_account: Tally
) -> Step:
    """Return the next step; `on_account` are the counts on the market's account.

    A new count is taken when there is none and the proposal passes or has expired, when the recorded verdict has
    changed, or when the account shows other counts. A proposal is rejected only by a count that was taken when its
    voting was over.
    """
    passes = policy.passes(counts)
    if recorded is None:
        return Step.COUNT if passes or expired else Step.WAIT
    if not recorded.on_chain:
        return Step.RECORD
    if on_account != recorded.tally:
        return Step.WAIT if recorded.fresh else Step.COUNT
    if passes != recorded.passed:
        return Step.COUNT
    if passes:
        return Step.APPROVE
    if not expired:
        return Step.WAIT
    return Step.REJECT if recorded.last else Step.COUNT
