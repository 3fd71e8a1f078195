"""Tell until when users can vote on a market or dispute its outcome, as the API and the program judge it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec

from zmart.market.types import ChainTime, VoteKind
from zmart.services.gateway.api.serializers import FinalizationPolicy
from zmart.services.gateway.api.vote_terms import MarketVoting
from zmart.services.gateway.context import AppContext
from zmart.services.gateway.explorer import site_values
from zmart.store import markets, vote_closings, votes
from zmart.store.markets import MarketRow
from zmart.store.pool import Pool


class DeadlineSentence(msgspec.Struct, frozen=True):
    """A sentence of a page with a time in it: the text before the time, the time, the text after it."""

    before: str
    at: datetime | None
    after: str


class ActionDeadline(msgspec.Struct, frozen=True, kw_only=True):
    """Until when users can act in a market's present state: vote, or dispute its proposed outcome.

    `is_over`: the API or the program refuses it now. `closes_at`: the chain time after which it will be refused, None
    if no time alone ends it. `may_reopen`: it is over, and may be put off by the monitor.
    """

    sentence: DeadlineSentence
    is_over: bool = False
    closes_at: datetime | None = None
    may_reopen: bool = False


async def of(
    context: AppContext, row: MarketRow, policy: FinalizationPolicy, voting: MarketVoting
) -> ActionDeadline | None:
    """Return the deadline of the market's present state. None in states without one, and for a time to dispute before
    the program's rules are indexed."""
    match row.state:
        case "RESOLVING":
            return await _of_outcome(context, row, policy)
        case "DISPUTED":
            return await _of_dispute(context, row, policy, voting)
        case "PROPOSED":
            return await _of_proposal(context, row, policy)
        case _:
            return None


async def _of_outcome(
    context: AppContext, row: MarketRow, policy: FinalizationPolicy
) -> ActionDeadline | None:
    """Return the end of the program's dispute period, from which on it refuses a dispute."""
    if row.resolution_proposed_at is None or policy.rules is None:
        return None
    at = row.resolution_proposed_at + timedelta(seconds=policy.rules.dispute_period)
    over = DeadlineSentence("The time to dispute it ended", at, ".")
    if await _present(context) >= at:
        return ActionDeadline(sentence=over, is_over=True)
    return ActionDeadline(sentence=DeadlineSentence("It can be disputed until", at, ""), closes_at=at)


async def _of_dispute(
    context: AppContext, row: MarketRow, policy: FinalizationPolicy, voting: MarketVoting
) -> ActionDeadline | None:
    """Return the end of the vote on a dispute. A vote that had too few votes at its end is held open by the monitor."""
    if row.dispute_initiated_at is None:
        return None
    at = row.dispute_initiated_at + policy.voting
    terms = next(terms for terms in voting.terms if terms.kind == VoteKind.DISPUTE.value)
    too_few = "no vote counts" if terms.min_votes == 1 else f"fewer than {terms.min_votes} votes count"
    over = DeadlineSentence("The time to vote ended", at, f". If {too_few}, voting will go on.")
    time = await site_values.chain_time(context)
    if await _is_closed(context.pool, row, VoteKind.DISPUTE, policy, time):
        return ActionDeadline(sentence=over, is_over=True, may_reopen=True)
    if await vote_closings.find(context.pool, row.market_id, VoteKind.DISPUTE) is not None:
        held_open = DeadlineSentence(
            "The time to vote ended", at, " with too few votes: votes count until there are enough."
        )
        return ActionDeadline(sentence=held_open)
    return ActionDeadline(sentence=DeadlineSentence("Votes count until", at, ""), closes_at=at)


async def _of_proposal(
    context: AppContext, row: MarketRow, policy: FinalizationPolicy
) -> ActionDeadline | None:
    """Return the end of the vote on a proposal. The aggregator ends it: when the proposal is approved, or when it
    records that the proposal failed, after PROPOSAL_TTL_DAYS."""
    if await _is_closed(context.pool, row, VoteKind.PROPOSAL, policy, None):
        ended = DeadlineSentence("Voting on this proposal has ended: no further vote counts.", None, "")
        return ActionDeadline(sentence=ended, is_over=True)
    if policy.deadlines is None:
        return None
    at = row.created_at + timedelta(seconds=policy.deadlines.proposal_s)
    if await _present(context) < at:
        return ActionDeadline(sentence=DeadlineSentence("Votes count until", at, ""))
    failed = DeadlineSentence(
        "The time for its approval ended", at, ": votes count until its rejection is recorded."
    )
    return ActionDeadline(sentence=failed)


async def _is_closed(
    pool: Pool, row: MarketRow, kind: VoteKind, policy: FinalizationPolicy, time: ChainTime | None
) -> bool:
    return await votes.voting_closed(
        pool, row.market_id, kind, int(policy.voting / timedelta(seconds=1)), time
    )


async def _present(context: AppContext) -> datetime:
    """Return the chain's time as the RPC reports it, or as the index knows it."""
    time = await site_values.chain_time(context)
    return (
        await markets.latest_chain_time(context.pool) if time is None else datetime.fromtimestamp(time, UTC)
    )
