"""Finalize markets whose time is over: undisputed ones as proposed, disputed ones by their votes.

Only this module plans finalize_market. A dispute's vote closes at its deadline. Its tally is taken here, once, when the
index is complete through that moment; the intent to finalize is planned from the stored tally.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

import structlog

from zmart.chain.accounts import GlobalConfig, MarketAccount
from zmart.chain.clock import ChainClock
from zmart.decisions.context import DecisionContext
from zmart.decisions.execution import confirm, execute
from zmart.decisions.planning import plan_tally
from zmart.decisions.workers import report_waiting
from zmart.errors import EligibilityUnknown
from zmart.market.deadlines import Deadlines
from zmart.market.types import ChainTime, MarketId, MarketState, VoteKind
from zmart.services.monitor import metrics
from zmart.services.monitor.dispute_reviews import DisputeReviews
from zmart.store import intents, market_work, tallies, vote_closings, vote_log, votes
from zmart.store.intents import Action, IntentRow
from zmart.store.market_work import NEEDS_A_PERSON, TOO_FEW_VOTES, Job
from zmart.store.pool import Connection
from zmart.store.tallies import TallyRow
from zmart.store.vote_closings import VoteClosing
from zmart.store.vote_rules import VotingTerms
from zmart.votes.closings import ClosingMoment, close_vote, extend_vote
from zmart.votes.completeness import require_complete
from zmart.votes.eligibility import Voters
from zmart.votes.metrics import aggregated
from zmart.votes.tallying import count_log, record

_UNDISPUTED_ROUND = 0
log = structlog.get_logger()


@dataclass(frozen=True)
class Finalizer:
    """Finalize markets during one tick, by the chain's clock and GlobalConfig as of its start."""

    context: DecisionContext
    deadlines: Deadlines
    config: GlobalConfig
    clock: ChainClock
    voters: Voters
    reviews: DisputeReviews
    against_votes: bool = False
    """Whether to finalize as proposed also a market that is back in RESOLVING after a dispute: a person decided so."""

    def closes_at(self, account: MarketAccount) -> ChainTime:
        """Return the chain time at which the market's vote (in DISPUTED) or dispute window (in RESOLVING) is over."""
        if account.state is MarketState.DISPUTED:
            return self.deadlines.dispute_closes_at(ChainTime(account.dispute_initiated_at))
        return self.deadlines.window_closes_at(ChainTime(account.resolution_proposed_at))

    async def finalize(self, market_id: MarketId) -> None:
        """Finalize one market if its account shows that it is due; otherwise do nothing.

        Raises IndexIncomplete, EligibilityUnknown, ChainError, ProgramError or StoreError.
        """
        account = await self.context.market(market_id)
        if account.state not in (MarketState.RESOLVING, MarketState.DISPUTED):
            return
        closes_at = self.closes_at(account)
        if self.clock.unix_timestamp < self.deadlines.due_at(closes_at):
            return
        if account.state is MarketState.RESOLVING:
            await self._finalize_as_proposed(account, closes_at)
        else:
            await self._finalize_disputed(account, closes_at)

    async def _finalize_as_proposed(self, account: MarketAccount, closes_at: ChainTime) -> None:
        pool, market_id = self.context.pool, account.market_id
        await require_complete(pool, self.context.program.address, market_id, closes_at)
        if account.was_disputed and not self.against_votes:
            await self._require_person(market_id)
            return
        intent = await intents.plan(pool, market_id, Action.FINALIZE_MARKET, _UNDISPUTED_ROUND, {})
        await self._execute(account, intent, Job.FINALIZE)

    async def _finalize_disputed(self, account: MarketAccount, closes_at: ChainTime) -> None:
        pool, row = self.context.pool, await self._dispute_tally(account.market_id, closes_at)
        if row is not None and await self.reviews.may_finalize(pool, row, account.created_at):
            await self._execute(account, await plan_tally(pool, row), Job.DISPUTE)

    async def _execute(self, account: MarketAccount, intent: IntentRow, job: Job) -> None:
        if not await confirm(self.context, intent, await execute(self.context, intent)):
            return
        await market_work.done(self.context.pool, account.market_id, job)
        # Another RPC than the one that is read now may have shown that it landed.
        landed_slot = (await intents.one(self.context.pool, intent.id)).landed_slot
        after = await self.context.market(account.market_id, landed_slot)
        if after.state is MarketState.FINALIZED:
            late_s = after.finalized_at - self.deadlines.due_at(self.closes_at(account))
            metrics.lateness_seconds.observe(late_s)
            metrics.finalized.labels(job.value).inc()
            log.info("market finalized", market=account.market_id, outcome=after.final_outcome, late_s=late_s)

    async def _dispute_tally(self, market_id: MarketId, closes_at: ChainTime) -> TallyRow | None:
        """Return the tally that settles the dispute; it is taken only once, now or by another attempt.

        Return None if there are too few votes: nothing is decided then, and voting continues. Return None, too, if
        another process has replaced the closing before the count: the next attempt closes the vote again.
        """
        pool, program = self.context.pool, self.context.program.address
        row = await tallies.latest(pool, market_id, VoteKind.DISPUTE)
        if row is not None:
            return row
        terms = await self.voters.terms(market_id, VoteKind.DISPUTE)
        # Whether there are enough votes is checked now, and again when they are counted.
        with suppress(EligibilityUnknown):
            await self.voters.judge_all(market_id, VoteKind.DISPUTE)
        closing = await self._close(market_id, closes_at, terms)
        if closing is not None:
            await require_complete(pool, program, market_id, closing.closed_at, closing.closed_slot)
            await self.voters.judge_all(market_id, VoteKind.DISPUTE)
            async with pool.transaction() as connection:
                await vote_log.lock(connection, market_id)
                row = await tallies.latest(connection, market_id, VoteKind.DISPUTE)
                if row is not None or await _is_overtaken(connection, closing):
                    return row
                row = await self._count(connection, closing, terms)
            aggregated.labels(VoteKind.DISPUTE.value).inc(row.tally.total if row else 0)
        if row is None:
            await self._too_few_votes(market_id, terms)
        return row

    async def _close(
        self, market_id: MarketId, closes_at: ChainTime, terms: VotingTerms
    ) -> VoteClosing | None:
        """Close the vote on the dispute at its deadline and return the closing.

        A dispute with too few votes at its deadline stays open until it has enough, and closes at that moment; until
        then return None.
        """

        async def choose(connection: Connection) -> ClosingMoment | None:
            closed_at, slot = closes_at, self.clock.slot
            extended = await vote_closings.find(connection, market_id, VoteKind.DISPUTE)
            if extended is not None:
                counts = (await votes.counts(connection, market_id))[VoteKind.DISPUTE]
                if counts.total < terms.min_votes:
                    return None
                # The log has the votes up to the earlier closing, and the clock may be that of a node that lags.
                closed_at = max(self.clock.unix_timestamp, extended.closed_at)
                slot = max(slot, extended.closed_slot)
            return ClosingMoment(closed_at=closed_at, slot=slot, voting_over=True)

        closing = await close_vote(self.context.pool, market_id, VoteKind.DISPUTE, choose)
        return closing if closing is not None and closing.voting_over else None

    async def _count(
        self, connection: Connection, closing: VoteClosing, terms: VotingTerms
    ) -> TallyRow | None:
        """Count the log and store the tally; with too few votes, let voting continue and return None.

        The caller holds the lock of the market's log, and has read under it that `closing` still closes the vote.
        """
        counted = await count_log(connection, self.context.program.address, closing, terms)
        if counted.tally.total < terms.min_votes:
            await extend_vote(connection, closing)
            return None
        return await record(connection, counted, self.config.dispute_success_threshold)

    async def _too_few_votes(self, market_id: MarketId, terms: VotingTerms) -> None:
        total = (await votes.counts(self.context.pool, market_id))[VoteKind.DISPUTE].total
        message = (
            f"The dispute of market {market_id} is past its deadline with {total} vote(s); it needs "
            f"{terms.min_votes} that count. It stays DISPUTED until more votes arrive, on chain or here. "
            f"{terms.rule.sentence}"
        )
        await report_waiting(self.context.pool, market_id, Job.DISPUTE, TOO_FEW_VOTES, "warning", message)

    async def _require_person(self, market_id: MarketId) -> None:
        message = (
            f"Market {market_id} is back in RESOLVING after a dispute (aggregate_dispute_votes): finalizing it "
            "would confirm the outcome that the votes rejected. A person must decide: `zmart finalize "
            f"{market_id} --as-proposed` confirms it, else it stays as it is."
        )
        await report_waiting(self.context.pool, market_id, Job.FINALIZE, NEEDS_A_PERSON, "critical", message)


async def _is_overtaken(connection: Connection, closing: VoteClosing) -> bool:
    """Return whether another process has replaced the closing, such as by letting voting continue: what is counted by
    it would lack the votes that came since. The caller holds the lock of the market's log."""
    written = await vote_closings.find(connection, closing.market_id, closing.kind)
    if written == closing:
        return False
    log.info("closing replaced before the count", market=closing.market_id, closed_at=closing.closed_at)
    return True
