"""Decides proposals: counts to the chain with the log's root, then the approval or the rejection."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import assert_never

import structlog

from zmart.chain.accounts import MarketAccount
from zmart.market.tally import Tally
from zmart.market.types import ChainTime, MarketId, MarketState, VoteKind
from zmart.proofs.tallying import count_log, memo_of, record
from zmart.services.aggregator import metrics
from zmart.services.aggregator.policy import Policy, Recorded, Step, next_step
from zmart.services.authority import Authority, shown_proposal
from zmart.services.effects import bring_about
from zmart.services.workers import waits
from zmart.store import intents, market_work, tallies, votes
from zmart.store.intents import Action, IntentRow
from zmart.store.market_work import Job
from zmart.store.pool import Connection, Pool
from zmart.store.tallies import TallyRow

_MOST_STEPS = 8  # count, record, approve, look; twice, when a vote turns the verdict meanwhile
_FRESH = timedelta(minutes=1)
log = structlog.get_logger()


@dataclass(frozen=True)
class Proposals:
    """How a tick decides: by the policy and the chain's time of that moment."""

    authority: Authority
    policy: Policy
    now: ChainTime

    async def decide(self, market_id: MarketId) -> None:
        """Bring one proposal as far as it gets now. Raises ChainError, ProgramError, StoreError."""
        for _ in range(_MOST_STEPS):
            account = await self.authority.market(market_id)
            if account.state is not MarketState.PROPOSED:
                await market_work.done(self.authority.pool, market_id, Job.PROPOSAL)
                return
            if not await self._advance(market_id, account):
                return

    async def _advance(self, market_id: MarketId, account: MarketAccount) -> bool:
        """Take the next step; whether there may be one behind it."""
        pool = self.authority.pool
        counts = (await votes.counts(pool, market_id))[VoteKind.PROPOSAL]
        row, intent = await _recorded(pool, market_id)
        match self._step(counts, account, row, intent):
            case Step.COUNT:
                return await self._count(market_id, account)
            case Step.RECORD:
                assert intent is not None
                return await bring_about(self.authority, intent)
            case Step.APPROVE:
                assert row is not None
                return await self._approve(market_id, row)
            case Step.REJECT:
                await market_work.note(pool, market_id, Job.PROPOSAL, "rejected")
                log.info("proposal rejected", market=market_id, likes=counts.votes_for, total=counts.total)
                metrics.decided.labels("rejected").inc()
                return False
            case Step.WAIT:
                await market_work.done(pool, market_id, Job.PROPOSAL)
                return False
            case other:
                assert_never(other)

    def _step(
        self, counts: Tally, account: MarketAccount, row: TallyRow | None, intent: IntentRow | None
    ) -> Step:
        recorded = None
        if row is not None and intent is not None:
            fresh = datetime.now(UTC) - intent.updated_at < _FRESH
            recorded = Recorded(row.tally, row.passed, intent.state.is_done, fresh)
        expired = self.policy.expired(account.created_at, self.now)
        return next_step(self.policy, counts, expired, recorded, shown_proposal(account))

    async def _count(self, market_id: MarketId, account: MarketAccount) -> bool:
        """The tally and the intent that carries it, in one transaction. Decided again by the log's own count,
        under its lock: it may lack a vote on chain that is not final, or another process was here."""
        authority = self.authority
        async with authority.pool.transaction() as connection:
            counted = await count_log(connection, authority.program.address, market_id, VoteKind.PROPOSAL)
            step = self._step(counted.tally, account, *await _recorded(connection, market_id))
            if step is not Step.COUNT:
                return step is Step.RECORD
            row = await record(connection, counted, self.policy.threshold_bps, self.policy.min_votes)
            await intents.plan(
                connection, market_id, Action.AGGREGATE_PROPOSAL_VOTES, row.round, arguments_of(row)
            )
        metrics.tallies.labels(VoteKind.PROPOSAL.value).inc()
        log.info("votes counted", market=market_id, round=row.round, tally=row.tally, passed=row.passed)
        return True

    async def _approve(self, market_id: MarketId, row: TallyRow) -> bool:
        if self.authority.admin is None:
            message = (
                f"Market {market_id} has its votes ({row.tally.bps} bps of {row.tally.total} like it) and waits for "
                "the admin to send approve_proposal (or set ADMIN_KEYPAIR_PATH)."
            )
            await waits(self.authority.pool, market_id, Job.PROPOSAL, "awaiting admin", "warning", message)
            return False
        pool = self.authority.pool
        intent = await intents.plan(pool, market_id, Action.APPROVE_PROPOSAL, row.round, {})
        approved = await bring_about(self.authority, intent)
        if approved:
            metrics.decided.labels("approved").inc()
        return approved


def arguments_of(row: TallyRow) -> dict[str, int | str]:
    """What an intent needs to carry a tally to the chain, at any later time."""
    return {"votes_for": row.tally.votes_for, "votes_against": row.tally.votes_against, "memo": memo_of(row)}


async def _recorded(db: Pool | Connection, market_id: MarketId) -> tuple[TallyRow | None, IntentRow | None]:
    row = await tallies.latest(db, market_id, VoteKind.PROPOSAL)
    if row is None:
        return None, None
    return row, await intents.of_round(db, market_id, Action.AGGREGATE_PROPOSAL_VOTES, row.round)
