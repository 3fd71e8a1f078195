"""Decide whether a proposal may be approved now, and plan its approval.

This is the one check of the aggregator, of an operator's request, and of an operator's approval that a process left
open. An operator approves for the votes: where the program would still accept the counts that it recorded, votes that
came since may contradict them.
"""

from __future__ import annotations

import msgspec

from zmart.chain.accounts import MarketAccount
from zmart.decisions.effects import proposal_counts
from zmart.errors import Conflict
from zmart.market.tally import Tally
from zmart.market.types import Address, Bps, ChainTime, MarketId, VoteKind
from zmart.store import intents, tallies, vote_closings, vote_log, votes
from zmart.store.intents import Action, IntentRow
from zmart.store.pool import Connection, Pool
from zmart.store.tallies import TallyRow
from zmart.votes.closings import close_by_tally
from zmart.votes.completeness import require_recent

OPERATORS_ROUND = 0
"""The round of an intent that an operator asked for."""
_OTHER_MOMENT = "The vote was closed at another moment than that of its newest count."


class ApprovalRefused(Conflict):
    """The votes do not approve the proposal as of now; the message says why."""


class ApprovalPremature(ApprovalRefused):
    """The newest count is not taken, or not seen on the market's account, yet: the votes may approve the proposal."""


class ApprovalTerms(msgspec.Struct, frozen=True, kw_only=True):
    """What an approval is judged by. `now`: the chain's present time; `threshold_bps`: the share of votes for that
    GlobalConfig asks for, in basis points; `on_account`: the counts that the market's account records."""

    program: Address
    now: ChainTime
    threshold_bps: Bps
    on_account: Tally

    @classmethod
    def of_account(
        cls, program: Address, now: ChainTime, threshold_bps: Bps, account: MarketAccount
    ) -> ApprovalTerms:
        """Return the terms for a market with this account."""
        return cls(program=program, now=now, threshold_bps=threshold_bps, on_account=proposal_counts(account))


async def plan_approval(
    pool: Pool, market_id: MarketId, terms: ApprovalTerms, *, by_operator: bool = False
) -> IntentRow:
    """Close the vote by its newest tally, and return the intent that approves the market; all in one transaction.

    The round of the intent is that of the tally, or OPERATORS_ROUND. Raises IndexIncomplete while votes may be missing
    that contradict the tally, and ApprovalRefused if the votes do not approve the proposal.
    """
    row = await _recent_tally(pool, market_id, terms)
    async with pool.transaction() as connection:
        await _require_votes(connection, row, terms)
        if not await close_by_tally(connection, row):
            raise ApprovalRefused(_OTHER_MOMENT)
        round_ = OPERATORS_ROUND if by_operator else row.round
        return await intents.plan(connection, market_id, Action.APPROVE_PROPOSAL, round_, {})


async def require_approvable(pool: Pool, market_id: MarketId, terms: ApprovalTerms) -> None:
    """Return if the market may be approved now; the vote stays open. Raises what `plan_approval` raises."""
    row = await _recent_tally(pool, market_id, terms)
    async with pool.transaction() as connection:
        await _require_votes(connection, row, terms)


async def _recent_tally(pool: Pool, market_id: MarketId, terms: ApprovalTerms) -> TallyRow:
    """Return the newest tally once the index is complete through it, and nearly through the present."""
    row = await tallies.latest(pool, market_id, VoteKind.PROPOSAL)
    counted = (row.closed_at, row.closed_slot) if row else (ChainTime(0), None)
    await require_recent(pool, terms.program, market_id, terms.now, *counted)
    if row is not None:
        return row
    if terms.on_account.total:
        raise ApprovalPremature(
            f"The market's account records {_text(terms.on_account)}, which the aggregator has not counted: wait for "
            "its next run."
        )
    raise ApprovalPremature("No votes are recorded on chain yet: wait for the aggregator's next run.")


async def _require_votes(connection: Connection, row: TallyRow, terms: ApprovalTerms) -> None:
    """Check under the log's lock that `row` is still the newest tally, on chain, and that the votes agree with it.

    Votes that arrived during the wait for the index, or since the tally, may have changed the verdict.
    """
    await vote_log.lock(connection, row.market_id)
    if await tallies.latest(connection, row.market_id, row.kind) != row:
        raise ApprovalPremature("The votes have been counted again meanwhile: try again.")
    closing = await vote_closings.find(connection, row.market_id, row.kind)
    if closing is not None and closing.voting_over and closing.closed_at != row.closed_at:
        raise ApprovalRefused(_OTHER_MOMENT)
    if row.tally != terms.on_account:
        raise ApprovalPremature(
            f"The market's account records {_text(terms.on_account)}, and the newest count is {_text(row.tally)}: "
            "wait for the aggregator's next run."
        )
    if not row.passed:
        raise ApprovalRefused(
            f"The votes do not approve this market: the newest count is {_text(row.tally)}."
        )
    present = (await votes.counts(connection, row.market_id))[row.kind]
    if not present.passes(terms.threshold_bps, row.min_votes):
        raise ApprovalRefused(
            f"Votes came since the count of {_text(row.tally)}: with now {_text(present)} they do not approve this "
            "market."
        )


def _text(tally: Tally) -> str:
    return f"{tally.votes_for} for and {tally.votes_against} against"
