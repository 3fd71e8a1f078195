"""Run the vote aggregator: each tick decides the proposals that are due and refreshes the tally cache."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from functools import partial

from zmart.decisions import payer
from zmart.decisions.context import DecisionContext
from zmart.decisions.execution import resume
from zmart.decisions.requested_ticks import tick_on_request
from zmart.decisions.schedule import run_schedule
from zmart.decisions.takeover import resume_abandoned
from zmart.decisions.ticks import TickCounts, TickRecord
from zmart.decisions.waiting import resume_waiting
from zmart.decisions.workers import DRAIN_S, MarketWorkers, clear_finished
from zmart.market.types import ChainTime, MarketId
from zmart.services.aggregator import metrics
from zmart.services.aggregator.api import StatsApi
from zmart.services.aggregator.cache import TallyCache
from zmart.services.aggregator.judging import OpenVotesJudge
from zmart.services.aggregator.policy import Policy
from zmart.services.aggregator.proposals import ProposalDecider
from zmart.services.aggregator.waking import wake_by_votes
from zmart.services.contract import AsgiApp, ProbeMiddleware, Readiness, no_probes
from zmart.services.known_answers import POSTGRESQL_SILENT, KnownAnswer
from zmart.settings import Settings
from zmart.store import market_work
from zmart.store.intents import Action, IntentRow
from zmart.store.market_work import Job
from zmart.store.retrying import Outages
from zmart.votes.eligibility import Voters
from zmart.votes.policy import deadlines_of

_JOBS = (Job.PROPOSAL,)
_ACTIONS = (Action.AGGREGATE_PROPOSAL_VOTES, Action.APPROVE_PROPOSAL, Action.CANCEL_MARKET)


class Aggregator:
    """The aggregator service; `zmart aggregate` runs `decide_due` once."""

    name = "aggregator"

    def __init__(self, settings: Settings, context: DecisionContext, cache: TallyCache | None) -> None:
        self._settings = settings
        self._context = context
        self._cache = cache
        self._voters = Voters(context.pool, context.program, context.witnesses, settings)
        self._judging = OpenVotesJudge(self._voters)
        self._workers = MarketWorkers(context.pool, held=settings.hold_decisions)
        self._ticks = TickRecord("aggregator", metrics.ticks, metrics.tick_seconds)
        self._outages = Outages()
        self._slot = KnownAnswer(context.rpc.get_slot, f"{context.rpc.name} does not answer.")
        self._pending = KnownAnswer(partial(market_work.pending, context.pool), POSTGRESQL_SILENT)

    async def run(self, stop: asyncio.Event) -> None:
        """Run the schedule and the other loops until `stop` is set, then wait for running work."""
        url = self._settings.require("database_url")
        cron = self._settings.aggregator_cron
        jobs = [
            run_schedule(
                url, "aggregator", cron, self._tick, stop, restart_after_crash=False, outages=self._outages
            ),
            resume_abandoned(self._context, _ACTIONS, self._resume, stop, self._outages),
            resume_waiting(self._context.pool, _JOBS, self.decide_due, stop, self._outages),
            tick_on_request(url, self._tick, stop, self._outages),
        ]
        if self._settings.aggregate_on_threshold:
            jobs.append(wake_by_votes(self._context.pool, url, self._woken, stop, self._outages))
        try:
            async with asyncio.TaskGroup() as group:
                for job in jobs:
                    group.create_task(job)
            await self._workers.drain(DRAIN_S)
        finally:
            await self._close()

    async def decide_due(self, only: Sequence[MarketId] | None = None) -> TickCounts:
        """Start work on every proposal that may be due (of `only`, if given), and return their number as {"due": n}.

        Without `only`, also close the votes of proposals that were decided by another process.
        """
        # Votes on chain count only once the eligibility of their wallets has been judged.
        await self._judging.start_and_wait()
        decider = await self._decider()
        policy = decider.policy
        expired_before = ChainTime(decider.clock.unix_timestamp - decider.deadlines.proposal_s)
        due = await market_work.proposals_to_decide(
            self._context.pool, expired_before, policy.min_votes, policy.threshold_bps, only=only
        )
        for proposal in due:
            self._workers.start(proposal.market_id, Job.PROPOSAL, partial(decider.decide, proposal.market_id))
        for market_id in await market_work.unclosed_proposals(self._context.pool) if only is None else ():
            self._workers.start(market_id, Job.PROPOSAL, partial(decider.close_decided, market_id))
        return {"due": len(due)}

    async def _decider(self) -> ProposalDecider:
        config, clock = await self._context.check(), await self._context.rpc.get_clock()
        policy = Policy(config.proposal_approval_threshold, self._settings.min_proposal_votes)
        deadlines = deadlines_of(self._settings, config.dispute_period)
        return ProposalDecider(self._context, policy, deadlines, clock, self._voters)

    def _resume(self, intent: IntentRow) -> None:
        async def work() -> None:
            resumed = await resume(self._context, intent)
            if not resumed or intent.action is Action.AGGREGATE_PROPOSAL_VOTES:  # approval comes next
                await (await self._decider()).decide(intent.market_id)

        self._workers.start(intent.market_id, Job.PROPOSAL, work)

    async def finish(self) -> None:
        """Wait until all work that was started has ended."""
        await self._judging.finish()
        await self._workers.drain()
        await self._voters.finish()

    async def readiness(self) -> Readiness:
        """Return ready unless a loop waits for a server or the last tick failed. Raises StoreError or ChainError."""
        pending, slot = await asyncio.gather(self._pending.get(), self._slot.get())
        details = {"pending_votes": pending.votes, "slot": slot, **self._ticks.health()}
        details["decisions_held"] = self._workers.held
        details["rpc_refused"] = self._context.rpc.refusals()
        reason = self._outages.reason or self._ticks.reason
        return Readiness(ready=not reason, reason=reason, details=details)

    def health(self) -> Mapping[str, object]:
        """Return the number of ticks, and when and how the last one ended."""
        return {**self._ticks.health(), "service": "zmart-vote-aggregator"}

    def asgi(self, probes: ProbeMiddleware = no_probes) -> AsgiApp:
        """Return the application of GET /api/stats, wrapped in `probes`."""
        return probes(StatsApi(self._context.pool))

    async def _tick(self) -> bool:
        await self._ticks.run(self._everything)
        return not self._ticks.was_outage

    async def _woken(self, markets: Sequence[MarketId]) -> None:
        await self._ticks.run(partial(self.decide_due, markets))

    async def _everything(self) -> TickCounts:
        context = self._context
        counts = await self.decide_due()
        await clear_finished(context.pool)
        if self._cache is not None:
            await self._cache.refresh(context.pool)
        pending = (await market_work.pending(context.pool)).votes
        metrics.pending_votes.set(pending)
        await payer.check_balance(context)
        await context.report_refused(self.name)
        await self._workers.report_held(self.name)
        return {**counts, "pending_votes": pending}

    async def _close(self) -> None:
        self._workers.cancel()
        await self._judging.aclose()
        await self._voters.aclose()
        self._slot.close()
        self._pending.close()
        if self._cache is not None:
            await self._cache.aclose()
        await self._context.aclose()
