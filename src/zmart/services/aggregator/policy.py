"""Decide the next step for a proposal: a pure function of its present, its recorded and its on-chain counts."""

from __future__ import annotations

from enum import Enum

import msgspec

from zmart.market.tally import Tally
from zmart.market.types import Bps


class Step(Enum):
    """The next step of the aggregator with a proposal."""

    WAIT = "wait"
    """Let voting continue: nothing is decided yet."""
    WAIT_FOR_NODE = "wait for node"
    """Change nothing: the node does not show the recorded counts yet, and an approval may be on its way."""
    COUNT = "count"
    """Count the vote log, store the tally and plan to record it on chain."""
    RECORD = "record"
    """Send the planned counts to the chain."""
    APPROVE = "approve"
    REJECT = "reject"


class Policy(msgspec.Struct, frozen=True):
    """The rules for approving a proposal.

    `threshold_bps` comes from GlobalConfig. `min_votes` comes from the vote's terms, or from the settings for a vote
    whose terms are not fixed yet.
    """

    threshold_bps: Bps
    min_votes: int

    def passes(self, tally: Tally) -> bool:
        """Return whether the tally has at least `min_votes` votes and reaches the threshold."""
        return tally.passes(self.threshold_bps, self.min_votes)


class Recorded(msgspec.Struct, frozen=True):
    """The newest stored tally of a proposal.

    `passed`: the proposal passed by it. `on_chain`: its intent is done. `fresh`: that was within the last minute, so a
    node may not show the counts yet. `last`: the tally was taken when voting was over. `overtaken`: the vote was closed
    finally at another moment than the tally's.
    """

    tally: Tally
    passed: bool
    on_chain: bool
    fresh: bool
    last: bool
    overtaken: bool = False


def next_step(
    policy: Policy, counts: Tally, expired: bool, recorded: Recorded | None, on_account: Tally
) -> Step:
    """Return the next step for a proposal.

    `counts` are the present votes, `recorded` is the newest stored tally, `on_account` are the counts on the market's
    account. `expired`: the voting time of the proposal is over.

    A first tally is taken once the proposal passes or has expired. Another one is taken when the verdict has changed
    or the account shows other counts. A proposal is rejected only by a tally that was taken when voting was over, and
    approved by none that a final closing has overtaken.
    """
    passes = policy.passes(counts)
    if recorded is None:
        return Step.COUNT if passes or expired else Step.WAIT
    if not recorded.on_chain:
        return Step.RECORD
    if on_account != recorded.tally:
        return Step.WAIT_FOR_NODE if recorded.fresh else Step.COUNT
    if passes != recorded.passed:
        return Step.COUNT
    if passes:
        return Step.COUNT if recorded.overtaken else Step.APPROVE
    if not expired:
        return Step.WAIT
    return Step.REJECT if recorded.last else Step.COUNT
