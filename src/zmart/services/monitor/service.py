"""Run the market monitor: each tick finalizes what is due and reports what is stuck."""

from __future__ import annotations

import asyncio
from collections import Counter
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
from zmart.market.types import ChainTime, MarketId, MarketState
from zmart.services.contract import Readiness
from zmart.services.monitor import metrics
from zmart.services.monitor.finalizing import Finalizer
from zmart.services.monitor.reviewing import DisputeReviews
from zmart.settings import Settings
from zmart.store import alerts, market_work
from zmart.store.intents import Action, IntentRow
from zmart.store.market_work import Job
from zmart.votes.eligibility import Voters
from zmart.votes.policy import deadlines_of

STUCK_AFTER_S = 7 * 86_400
_ACTIONS = (Action.FINALIZE_MARKET,)
_JOBS = (Job.FINALIZE, Job.DISPUTE)


class Monitor:
    """Run the service; `zmart finalize` runs `settle_due` once."""

    name = "monitor"

    def __init__(self, settings: Settings, authority: Authority) -> None:
        self._settings = settings
        self._authority = authority
        self._workers = Workers(authority.pool)
        self._ticks = Ticks(metrics.ticks, metrics.tick_seconds)

    async def run(self, stop: asyncio.Event) -> None:
        """Run the schedule until `stop`, then finish the work that has begun."""
        url = self._settings.require("database_url")
        cron = self._settings.monitor_cron
        schedule = run_schedule(url, "monitor", cron, self._tick, stop, again_after_a_crash=False)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(schedule)
                group.create_task(take_over(self._authority, _ACTIONS, self._resume, stop))
                group.create_task(resume_waiting(self._authority.pool, _JOBS, self.settle_due, stop))
            await self._workers.drain(DRAIN_S)
        finally:
            self._workers.cancel()
            await self._authority.aclose()

    async def settle_due(self, only: Sequence[MarketId] | None = None) -> None:
        """Start to finalize every market whose time is over (of `only`, if given).

        The chain's clock and GlobalConfig are read once, at the start.
        """
        finalizing = await self._finalizing()
        now, deadlines = finalizing.clock.unix_timestamp, finalizing.deadlines
        acts_before = now - deadlines.safety_s
        proposed_before, disputed_before = (
            acts_before - deadlines.resolution_s,
            acts_before - deadlines.dispute_s,
        )
        due = await market_work.finalizations_due(
            self._authority.pool, ChainTime(proposed_before), ChainTime(disputed_before)
        )
        metrics.due.set(len(due))
        for market in due:
            if only is None or market.market_id in only:
                job = Job.DISPUTE if market.state is MarketState.DISPUTED else Job.FINALIZE
                self._workers.start(market.market_id, job, partial(finalizing.settle, market.market_id))
        if only is None:
            await self._report_stuck(now)

    async def _finalizing(self) -> Finalizer:
        config, clock = await self._authority.check(), await self._authority.rpc.get_clock()
        deadlines = deadlines_of(self._settings, config.dispute_period)
        voters = Voters(self._authority.pool, self._authority.program, self._authority.rpc, self._settings)
        reviews = DisputeReviews.of(self._settings)
        return Finalizer(self._authority, deadlines, config, clock, voters, reviews)

    def _resume(self, intent: IntentRow) -> None:
        async def work() -> None:
            if not await close(self._authority, intent):
                await (await self._finalizing()).settle(intent.market_id)

        job = Job.DISPUTE if intent.round else Job.FINALIZE
        self._workers.start(intent.market_id, job, work)

    async def finish(self) -> None:
        """Wait for the work that has begun."""
        await self._workers.drain()

    async def readiness(self) -> Readiness:
        """Return whether the last tick succeeded."""
        slot = await self._authority.rpc.get_slot()
        work = await market_work.counts(self._authority.pool)
        failing = sum(n for (_, status), n in work.items() if status == "failing")
        details = {"slot": slot, "failing_markets": failing, **self._ticks.health()}
        return Readiness(ready=not self._ticks.error, reason=self._ticks.error, details=details)

    def health(self) -> Mapping[str, object]:
        """Return how the last tick ended."""
        return self._ticks.health()

    def asgi(self) -> None:
        """Return None: the monitor has no routes of its own."""
        return

    async def _tick(self) -> None:
        await self._ticks.guard(self._everything)

    async def _everything(self) -> None:
        await self.settle_due()
        await forget_finished(self._authority.pool)
        await payer.look(self._authority)
        metrics.waiting.clear()
        for (job, status), markets in (await market_work.counts(self._authority.pool)).items():
            metrics.waiting.labels(job.value, status).set(markets)

    async def _report_stuck(self, now: ChainTime) -> None:
        """Raise one alert for all stuck markets: they need the same action, and a key per market has no bound."""
        stuck = await market_work.stuck_markets(self._authority.pool, ChainTime(now - STUCK_AFTER_S))
        by_state = Counter(market.state for market in stuck)
        for state in MarketState:
            metrics.stuck.labels(state.name).set(by_state[state])
        if not stuck:
            await alerts.resolve_alert(self._authority.pool, "stuck markets")
            return
        oldest = stuck[0]
        text = (
            f"{len(stuck)} market(s) made no progress for 7 days, the oldest is {oldest.market_id} in "
            f"{oldest.state.name}: see docs/operations.md, `zmart indexer audit` and /api/markets/{oldest.market_id}."
        )
        await alerts.raise_alert(self._authority.pool, "stuck markets", "warning", text)
