"""Decide proposals: record the counts on chain with the log's root, then approve or reject."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import assert_never

import msgspec
import structlog

from zmart.chain.accounts import MarketAccount
from zmart.chain.clock import ChainClock
from zmart.decisions.approvals import ApprovalRefused, ApprovalTerms, plan_approval
from zmart.decisions.context import DecisionContext
from zmart.decisions.effects import proposal_counts
from zmart.decisions.execution import confirm, execute
from zmart.decisions.planning import intent_of_tally, plan_tally
from zmart.decisions.workers import report_waiting
from zmart.market.deadlines import Deadlines
from zmart.market.tally import Tally
from zmart.market.types import MarketId, MarketState, VoteKind
from zmart.services.aggregator import metrics
from zmart.services.aggregator.policy import Policy, Recorded, Step, next_step
from zmart.store import market_work, tallies, vote_closings, vote_log, votes
from zmart.store.intents import IntentRow
from zmart.store.market_work import AWAITING_ADMIN, Job
from zmart.store.pool import Connection, Pool
from zmart.store.tallies import TallyRow
from zmart.store.vote_closings import VoteClosing
from zmart.votes.closings import ClosingMoment, close_as_recorded, close_vote, reopen_vote
from zmart.votes.completeness import require_complete
from zmart.votes.eligibility import Voters
from zmart.votes.metrics import aggregated
from zmart.votes.tallying import count_log, record

_MOST_STEPS = 8  # count, record, approve and a last check, twice: a vote may change the verdict meanwhile
_FRESH = timedelta(minutes=1)
log = structlog.get_logger()


@dataclass(frozen=True)
class ProposalDecider:
    """Decide proposals during one tick, by the policy, the deadlines and the chain's clock as of its start."""

    context: DecisionContext
    policy: Policy
    deadlines: Deadlines
    clock: ChainClock
    voters: Voters

    async def close_decided(self, market_id: MarketId) -> None:
        """Close the vote of a market that the index shows as decided, if its account says so, too. Raises ChainError or
        StoreError."""
        _, intent = await _recorded(self.context.pool, market_id)
        account = await self.context.market(market_id, intent.landed_slot if intent else None)
        if account.state is not MarketState.PROPOSED:
            await close_as_recorded(self.context.pool, market_id, proposal_counts(account))

    async def decide(self, market_id: MarketId) -> None:
        """Advance one proposal as far as possible now, with the minimum number of votes that is fixed for its vote.

        The vote of a market that is no longer proposed is closed, if that has not been done.

        Raises IndexIncomplete, EligibilityUnknown, ChainError, ProgramError or StoreError.
        """
        terms = await self.voters.terms(market_id, VoteKind.PROPOSAL)
        policy = Policy(self.policy.threshold_bps, terms.min_votes)
        await replace(self, policy=policy)._decide(market_id)

    async def _decide(self, market_id: MarketId) -> None:
        for _ in range(_MOST_STEPS):
            # Another RPC than the one that is read now may have shown that the counts landed.
            _, intent = await _recorded(self.context.pool, market_id)
            account = await self.context.market(market_id, intent.landed_slot if intent else None)
            if account.state is not MarketState.PROPOSED:
                await close_as_recorded(self.context.pool, market_id, proposal_counts(account))
                await market_work.done(self.context.pool, market_id, Job.PROPOSAL)
                return
            if not await self._advance(market_id, account):
                return

    async def _advance(self, market_id: MarketId, account: MarketAccount) -> bool:
        """Take the next step for the proposal and return whether another step may follow."""
        pool = self.context.pool
        counts = (await votes.counts(pool, market_id))[VoteKind.PROPOSAL]
        row, intent = await _recorded(pool, market_id)
        closing = await vote_closings.find(pool, market_id, VoteKind.PROPOSAL)
        match self._step(counts, account, row, intent, closing):
            case Step.COUNT:
                return await self._count(market_id, account)
            case Step.RECORD:
                assert intent is not None
                return await confirm(self.context, intent, await execute(self.context, intent))
            case Step.APPROVE:
                assert row is not None
                return await self._approve(market_id, row, account)
            case Step.REJECT:
                await market_work.note(pool, market_id, Job.PROPOSAL, "rejected")
                log.info("proposal rejected", market=market_id, likes=counts.votes_for, total=counts.total)
                metrics.decided.labels("rejected").inc()
                return False
            case Step.WAIT_FOR_NODE:
                await market_work.done(pool, market_id, Job.PROPOSAL)
                return False
            case Step.WAIT:
                if closing is not None:
                    await reopen_vote(pool, closing)
                await market_work.done(pool, market_id, Job.PROPOSAL)
                return False
            case other:
                assert_never(other)

    def _step(
        self,
        counts: Tally,
        account: MarketAccount,
        row: TallyRow | None,
        intent: IntentRow | None,
        closing: VoteClosing | None,
    ) -> Step:
        recorded = None
        if row is not None and intent is not None:
            fresh = datetime.now(UTC) - intent.updated_at < _FRESH
            is_final = closing is not None and closing.voting_over
            last = closing is not None and is_final and closing.closed_at == row.closed_at
            recorded = Recorded(
                row.tally, row.passed, intent.state.is_done, fresh, last, overtaken=is_final and not last
            )
        expired = self._has_expired(account) or self._closed_as_expired(account, closing)
        return next_step(self.policy, counts, expired, recorded, proposal_counts(account))

    def _has_expired(self, account: MarketAccount) -> bool:
        return self.clock.unix_timestamp >= self.deadlines.proposal_closes_at(account.created_at)

    def _closed_as_expired(self, account: MarketAccount, closing: VoteClosing | None) -> bool:
        """Return whether the vote was closed at the proposal's deadline, which the clock of a node that lags, or of a
        tick that began earlier, does not show yet."""
        deadline = self.deadlines.proposal_closes_at(account.created_at)
        return closing is not None and closing.voting_over and closing.closed_at >= deadline

    async def _close(self, market_id: MarketId, account: MarketAccount) -> VoteClosing:
        """Return the closing up to which votes count, written now unless there is one.

        Before the proposal's deadline it is provisional, at the chain's present time. After it, it is final and at the
        deadline. It is never before the newest tally: the log has the votes on chain that this one counted. The clock
        may be that of a node that lags, or of a tick that began earlier in another process.
        """
        has_expired = self._has_expired(account)
        moment = ClosingMoment(
            closed_at=self.deadlines.proposal_closes_at(account.created_at)
            if has_expired
            else self.clock.unix_timestamp,
            slot=self.clock.slot,
            voting_over=has_expired,
        )

        async def choose(connection: Connection) -> ClosingMoment:
            row = await tallies.latest(connection, market_id, VoteKind.PROPOSAL)
            if row is None or row.closed_at <= moment.closed_at:
                return moment
            slot = max(moment.slot, row.closed_slot)
            return msgspec.structs.replace(moment, closed_at=row.closed_at, slot=slot)

        closing = await close_vote(self.context.pool, market_id, VoteKind.PROPOSAL, choose)
        assert closing is not None  # `choose` always chooses
        return closing

    async def _count(self, market_id: MarketId, account: MarketAccount) -> bool:
        """Write the tally and the intent that records it on chain, in one transaction, and return whether to go on.

        The next step is decided again from the log's count, under the log's lock: votes on chain may have been added,
        or another process may have counted. Raises IndexIncomplete until the index is complete through the closing.
        """
        pool, program = self.context.pool, self.context.program.address
        closing = await self._close(market_id, account)
        await require_complete(pool, program, market_id, closing.closed_at, closing.closed_slot)
        terms = await self.voters.judge_all(market_id, VoteKind.PROPOSAL)
        async with pool.transaction() as connection:
            await vote_log.lock(connection, market_id)
            await _end_provisional(connection, closing)
            if await _is_overtaken(connection, closing):
                return True
            counted = await count_log(connection, program, closing, terms)
            step = self._step(counted.tally, account, *await _recorded(connection, market_id), closing)
            if step is not Step.COUNT:
                return step is Step.RECORD
            row = await record(connection, counted, self.policy.threshold_bps)
            await plan_tally(connection, row)
        metrics.tallies.labels(VoteKind.PROPOSAL.value).inc()
        aggregated.labels(VoteKind.PROPOSAL.value).inc(row.tally.total)
        log.info(
            "votes counted",
            market=market_id,
            round=row.round,
            likes=row.tally.votes_for,
            total=row.tally.total,
            bps=row.tally.bps,
            passed=row.passed,
        )
        return True

    async def _approve(self, market_id: MarketId, row: TallyRow, account: MarketAccount) -> bool:
        if self.context.admin is None:
            message = (
                f"Market {market_id} has its votes ({row.tally.bps} bps of {row.tally.total} like it) and waits for "
                "the admin to send approve_proposal (or set ADMIN_KEYPAIR_PATH)."
            )
            await report_waiting(
                self.context.pool, market_id, Job.PROPOSAL, AWAITING_ADMIN, "warning", message
            )
            return False
        terms = ApprovalTerms.of_account(
            self.context.program.address, self.clock.unix_timestamp, self.policy.threshold_bps, account
        )
        try:
            intent = await plan_approval(self.context.pool, market_id, terms)
        except ApprovalRefused as refused:
            # Votes, a count or a closing came meanwhile: the next step is another one.
            log.info("approval refused", market=market_id, reason=str(refused))
            return True
        approved = await confirm(self.context, intent, await execute(self.context, intent))
        if approved:
            metrics.decided.labels("approved").inc()
            log.info("proposal approved", market=market_id, likes=row.tally.votes_for, total=row.tally.total)
        return approved


async def _end_provisional(connection: Connection, closing: VoteClosing) -> None:
    """Remove the closing if it is not final: it ends with its count. A final one, also of another process, stays: an
    approval may be on its way."""
    if not closing.voting_over:
        written = await vote_closings.find(connection, closing.market_id, closing.kind)
        if written == closing:
            await vote_closings.remove(connection, closing.market_id, closing.kind)


async def _is_overtaken(connection: Connection, closing: VoteClosing) -> bool:
    """Return whether another process has meanwhile counted up to a later moment, closed the vote finally, or replaced
    or removed a final closing."""
    written = await vote_closings.find(connection, closing.market_id, closing.kind)
    if closing.voting_over:
        return written != closing
    row = await tallies.latest(connection, closing.market_id, closing.kind)
    is_counted = row is not None and row.closed_at > closing.closed_at
    return is_counted or (written is not None and written.voting_over)


async def _recorded(db: Pool | Connection, market_id: MarketId) -> tuple[TallyRow | None, IntentRow | None]:
    row = await tallies.latest(db, market_id, VoteKind.PROPOSAL)
    if row is None:
        return None, None
    return row, await intent_of_tally(db, row)
