"""Run the market monitor: each tick finalizes the markets that are due and reports those that are stuck."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
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
from zmart.market.types import ChainTime, MarketId, MarketState
from zmart.services.contract import AsgiApp, ProbeMiddleware, Readiness, no_probes
from zmart.services.known_answers import POSTGRESQL_SILENT, KnownAnswer
from zmart.services.monitor import metrics
from zmart.services.monitor.dispute_reviews import DisputeReviews
from zmart.services.monitor.finalizer import Finalizer
from zmart.settings import Settings
from zmart.store import alerts, decision_accuracy, market_work
from zmart.store.intents import Action, IntentRow
from zmart.store.market_work import Job
from zmart.store.retrying import Outages
from zmart.votes.eligibility import Voters
from zmart.votes.policy import deadlines_of

STUCK_AFTER_S = 7 * 86_400
_ACCURACY_DAYS = 30
_ACTIONS = (Action.FINALIZE_MARKET,)
_JOBS = (Job.FINALIZE, Job.DISPUTE)


class Monitor:
    """The monitor service; `zmart finalize` runs `finalize_due` once."""

    name = "monitor"

    def __init__(self, settings: Settings, context: DecisionContext) -> None:
        self._settings = settings
        self._context = context
        self._voters = Voters(context.pool, context.program, context.witnesses, settings)
        self._workers = MarketWorkers(context.pool, held=settings.hold_decisions)
        self._ticks = TickRecord("monitor", metrics.ticks, metrics.tick_seconds)
        self._outages = Outages()
        self._slot = KnownAnswer(context.rpc.get_slot, f"{context.rpc.name} does not answer.")
        self._work = KnownAnswer(partial(market_work.counts, context.pool), POSTGRESQL_SILENT)

    async def run(self, stop: asyncio.Event) -> None:
        """Run the schedule and the other loops until `stop` is set, then wait for running work."""
        url = self._settings.require("database_url")
        cron = self._settings.monitor_cron
        schedule = run_schedule(
            url, "monitor", cron, self._tick, stop, restart_after_crash=False, outages=self._outages
        )
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(schedule)
                group.create_task(
                    resume_abandoned(self._context, _ACTIONS, self._resume, stop, self._outages)
                )
                group.create_task(
                    resume_waiting(self._context.pool, _JOBS, self.finalize_due, stop, self._outages)
                )
                group.create_task(tick_on_request(url, self._tick, stop, self._outages))
            await self._workers.drain(DRAIN_S)
        finally:
            self._workers.cancel()
            await self._voters.aclose()
            self._slot.close()
            self._work.close()
            await self._context.aclose()

    async def finalize_due(
        self, only: Sequence[MarketId] | None = None, *, against_votes: bool = False
    ) -> TickCounts:
        """Start to finalize every market whose time is over, and return the number of such markets as {"due": n}.

        With `only`, other markets are counted but not finalized. The chain's clock and GlobalConfig are read once, at
        the start. `against_votes`: finalize as proposed also markets that are back in RESOLVING after a dispute.
        """
        finalizer = replace(await self._finalizer(), against_votes=against_votes)
        now, deadlines = finalizer.clock.unix_timestamp, finalizer.deadlines
        acts_before = now - deadlines.safety_s
        proposed_before, disputed_before = (
            acts_before - deadlines.resolution_s,
            acts_before - deadlines.dispute_s,
        )
        due = await market_work.finalizations_due(
            self._context.pool, ChainTime(proposed_before), ChainTime(disputed_before)
        )
        metrics.due.set(len(due))
        for market in due:
            if only is None or market.market_id in only:
                job = Job.DISPUTE if market.state is MarketState.DISPUTED else Job.FINALIZE
                self._workers.start(market.market_id, job, partial(finalizer.finalize, market.market_id))
        if only is None:
            await self._report_stuck(now)
        return {"due": len(due)}

    async def _finalizer(self) -> Finalizer:
        config, clock = await self._context.check(), await self._context.rpc.get_clock()
        deadlines = deadlines_of(self._settings, config.dispute_period)
        reviews = DisputeReviews.of(self._settings)
        return Finalizer(self._context, deadlines, config, clock, self._voters, reviews)

    def _resume(self, intent: IntentRow) -> None:
        async def work() -> None:
            if not await resume(self._context, intent):
                await (await self._finalizer()).finalize(intent.market_id)

        job = Job.DISPUTE if intent.round else Job.FINALIZE
        self._workers.start(intent.market_id, job, work)

    async def finish(self) -> None:
        """Wait until all work that was started has ended."""
        await self._workers.drain()
        await self._voters.finish()

    async def readiness(self) -> Readiness:
        """Return whether the service is ready: no loop waits for a server and the last tick succeeded.

        Raises StoreError or ChainError when the database or the RPC is unavailable.
        """
        slot, work = await asyncio.gather(self._slot.get(), self._work.get())
        failing = sum(n for (_, status), n in work.items() if status == "failing")
        details = {"slot": slot, "failing_markets": failing, **self._ticks.health()}
        details["decisions_held"] = self._workers.held
        details["rpc_refused"] = self._context.rpc.refusals()
        reason = self._outages.reason or self._ticks.reason
        return Readiness(ready=not reason, reason=reason, details=details)

    def health(self) -> Mapping[str, object]:
        """Return the number of ticks, and when and how the last one ended."""
        return self._ticks.health()

    def asgi(self, probes: ProbeMiddleware = no_probes) -> AsgiApp:
        """Return the probes' application; the service has no other routes."""
        return probes(None)

    async def _tick(self) -> bool:
        await self._ticks.run(self._everything)
        return not self._ticks.was_outage

    async def _everything(self) -> TickCounts:
        counts = await self.finalize_due()
        await clear_finished(self._context.pool)
        await payer.check_balance(self._context)
        await self._context.report_refused(self.name)
        await self._workers.report_held(self.name)
        metrics.waiting.clear()
        for (job, status), markets in (await market_work.counts(self._context.pool)).items():
            metrics.waiting.labels(job.value, status).set(markets)
        for checked in await decision_accuracy.accuracy(self._context.pool, _ACCURACY_DAYS):
            metrics.decisions.labels(checked.kind.value, "correct").set(checked.correct)
            metrics.decisions.labels(checked.kind.value, "wrong").set(checked.wrong)
        return counts

    async def _report_stuck(self, now: ChainTime) -> None:
        """Raise one alert for all markets without progress for seven days, or resolve it.

        There is one alert for all, because they need the same action and their number has no bound.
        """
        stuck = await market_work.stuck_markets(self._context.pool, ChainTime(now - STUCK_AFTER_S))
        by_state = Counter(market.state for market in stuck)
        for state in MarketState:
            metrics.stuck.labels(state.name).set(by_state[state])
        if not stuck:
            await alerts.resolve_alert(self._context.pool, "stuck markets")
            return
        oldest = stuck[0]
        text = (
            f"{len(stuck)} market(s) made no progress for 7 days, the oldest is {oldest.market_id} in "
            f"{oldest.state.name}: see docs/operations.md, `zmart indexer audit` and /api/markets/{oldest.market_id}."
        )
        await alerts.raise_alert(self._context.pool, "stuck markets", "warning", text)
