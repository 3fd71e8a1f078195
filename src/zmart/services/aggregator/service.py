"""The vote aggregator: each tick decides the proposals that are due and refreshes the tally cache."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from functools import partial

from zmart.decisions import payer
from zmart.decisions.context import Authority
from zmart.decisions.execution import close
from zmart.decisions.schedule import run_schedule
from zmart.decisions.takeover import take_over
from zmart.decisions.ticks import Ticks
from zmart.decisions.waiting import resume_waiting
from zmart.decisions.workers import DRAIN_S, Workers, forget_finished
from zmart.market.types import ChainTime, MarketId
from zmart.services.aggregator import metrics
from zmart.services.aggregator.api import StatsApi
from zmart.services.aggregator.cache import TallyCache
from zmart.services.aggregator.policy import Policy
from zmart.services.aggregator.proposals import Proposals
from zmart.services.aggregator.waking import wake_by_votes
from zmart.services.contract import AsgiApp, Readiness
from zmart.settings import Settings
from zmart.store import market_work
from zmart.store.intents import Action, IntentRow
from zmart.store.market_work import Job
from zmart.votes.eligibility import Voters
from zmart.votes.policy import deadlines_of

_JOBS = (Job.PROPOSAL,)
_ACTIONS = (Action.AGGREGATE_PROPOSAL_VOTES, Action.APPROVE_PROPOSAL, Action.CANCEL_MARKET)


class Aggregator:
    """One of the six services; `decide_due` is also what `zmart aggregate` runs once."""

    name = "aggregator"

    def __init__(self, settings: Settings, authority: Authority, cache: TallyCache | None) -> None:
        self._settings = settings
        self._authority = authority
        self._cache = cache
        self._voters = Voters(authority.pool, authority.program, authority.rpc, settings)
        self._workers = Workers(authority.pool)
        self._ticks = Ticks(metrics.ticks, metrics.tick_seconds)

    async def run(self, stop: asyncio.Event) -> None:
        url = self._settings.require("database_url")
        cron = self._settings.aggregator_cron
        jobs = [
            run_schedule(url, "aggregator", cron, self._tick, stop, again_after_a_crash=False),
            take_over(self._authority, _ACTIONS, self._resume, stop),
            resume_waiting(self._authority.pool, _JOBS, self.decide_due, stop),
        ]
        if self._settings.aggregate_on_threshold:
            jobs.append(wake_by_votes(self._authority.pool, url, self._woken, stop))
        try:
            async with asyncio.TaskGroup() as group:
                for job in jobs:
                    group.create_task(job)
            await self._workers.drain(DRAIN_S)
        finally:
            await self._close()

    async def decide_due(self, only: Sequence[MarketId] | None = None) -> None:
        """Begin work on every proposal that may be due (of `only`, if given), by chain time and GlobalConfig; the votes
        on chain of all open votes are judged first."""
        await self._voters.judge_open()
        proposals = await self._proposals()
        policy = proposals.policy
        expired_before = ChainTime(proposals.clock.unix_timestamp - proposals.deadlines.proposal_s)
        due = await market_work.proposals_to_decide(
            self._authority.pool, expired_before, policy.min_votes, policy.threshold_bps, only=only
        )
        for proposal in due:
            work = partial(proposals.decide, proposal.market_id)
            self._workers.start(proposal.market_id, Job.PROPOSAL, work)

    async def _proposals(self) -> Proposals:
        config, clock = await self._authority.check(), await self._authority.rpc.get_clock()
        policy = Policy(config.proposal_approval_threshold, self._settings.min_proposal_votes)
        deadlines = deadlines_of(self._settings, config.dispute_period)
        return Proposals(self._authority, policy, deadlines, clock, self._voters)

    def _resume(self, intent: IntentRow) -> None:
        async def work() -> None:
            closed = await close(self._authority, intent)
            if not closed or intent.action is Action.AGGREGATE_PROPOSAL_VOTES:  # then approve
                await (await self._proposals()).decide(intent.market_id)

        self._workers.start(intent.market_id, Job.PROPOSAL, work)

    async def finish(self) -> None:
        """Wait for the work that was begun."""
        await self._workers.drain()

    async def readiness(self) -> Readiness:
        pending = await market_work.pending(self._authority.pool)
        slot = await self._authority.rpc.get_slot()
        details = {"pending_votes": pending.votes, "slot": slot, **self._ticks.health()}
        return Readiness(ready=not self._ticks.error, reason=self._ticks.error, details=details)

    def health(self) -> Mapping[str, object]:
        return {**self._ticks.health(), "service": "zmart-vote-aggregator"}

    def asgi(self) -> AsgiApp:
        return StatsApi(self._authority.pool)

    async def _tick(self) -> None:
        await self._ticks.guard(self._everything)

    async def _woken(self, markets: Sequence[MarketId]) -> None:
        await self._ticks.guard(partial(self.decide_due, markets))

    async def _everything(self) -> None:
        authority = self._authority
        await self.decide_due()
        await forget_finished(authority.pool)
        if self._cache is not None:
            await self._cache.refresh(authority.pool)
        metrics.pending_votes.set((await market_work.pending(authority.pool)).votes)
        await payer.look(authority)

    async def _close(self) -> None:
        self._workers.cancel()
        if self._cache is not None:
            await self._cache.aclose()
        await self._authority.aclose()
