"""Run the indexer's loops, and report its progress."""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import structlog

from zmart.errors import StoreError
from zmart.market.types import MarketId
from zmart.services.contract import AsgiApp, ProbeMiddleware, Readiness, no_probes
from zmart.services.indexer import metrics
from zmart.services.indexer.engine import Engine
from zmart.services.indexer.maintenance import Maintenance
from zmart.services.indexer.routes import webhook_app
from zmart.services.indexer.sources import LiveLog
from zmart.services.indexer.suspension import watch_suspension
from zmart.services.indexer.wake_signal import WakeSignal
from zmart.services.indexer.webhook_watch import WebhookWatch
from zmart.services.known_answers import POSTGRESQL_SILENT, KnownAnswer
from zmart.services.webhook import WebhookReceiver
from zmart.settings import Settings
from zmart.store import deliveries, inbox, inbox_backlog, index_progress, projections
from zmart.store.deliveries import UnconfirmedBacklog
from zmart.store.inbox_backlog import InboxDepth
from zmart.store.index_progress import IndexProgress
from zmart.store.retrying import Outages, StopSignal, retrying

MAX_LAG_S = 10.0
UNCONFIRMED_S = 60.0
_RECONNECT_S = 0.5
_LISTENING = "Listening for notifications"
log = structlog.get_logger()


@dataclass(frozen=True)
class _IndexReading:
    """What PostgreSQL knows of the index's progress."""

    progress: IndexProgress
    depth: InboxDepth
    waiting: UnconfirmedBacklog
    stuck: Sequence[tuple[MarketId, str]]


class Indexer:
    """The indexer, a service as services/contract.py defines it."""

    name = "indexer"

    def __init__(self, settings: Settings, engine: Engine) -> None:
        self._settings = settings
        self._engine = engine
        self._maintenance = Maintenance(engine, settings.indexer_audit_interval_s)
        self._webhooks = WebhookWatch(engine.pool, settings)
        self._app = webhook_app(WebhookReceiver(engine.pool, settings))
        self._rate = EventRate()
        self._outages = Outages()
        self._state = KnownAnswer(self._read_state, POSTGRESQL_SILENT)

    @classmethod
    async def open(cls, settings: Settings) -> Indexer:
        """Return an indexer with open connections. Raises ConfigError, StoreError or ChainError."""
        engine = await Engine.open(settings)
        try:
            return cls(settings, engine)
        except BaseException:
            await engine.close()
            raise

    async def run(self, stop: asyncio.Event) -> None:
        """Run all loops until `stop` is set."""
        engine = self._engine
        work, fetch, confirm, scan, final, care, webhooks = (WakeSignal(stop) for _ in range(7))

        def resumed() -> None:
            for signal in (work, fetch, confirm, scan, final):
                signal.wake()

        endless = [self._wake(StopSignal(stop), (work, fetch)), watch_suspension(resumed)]
        if self._settings.indexer_logs_subscribe and self._settings.rpc_ws_url:
            live = LiveLog(engine.pool, engine.program, self._settings.rpc_ws_url, scan)
            endless.append(live.run())
        try:
            async with asyncio.TaskGroup() as group:
                helpers = [group.create_task(helper) for helper in endless]
                group.create_task(engine.worker.run(work, self._outages))
                group.create_task(engine.fetcher.run(fetch, self._outages))
                group.create_task(engine.confirmer.run(confirm, self._outages))
                group.create_task(engine.scanner.run(scan, self._outages))
                group.create_task(engine.finality.run(final, self._outages))
                group.create_task(self._maintenance.run(care, self._outages))
                group.create_task(self._webhooks.run(webhooks, self._outages))
                await stop.wait()
                for helper in helpers:
                    helper.cancel()
        finally:
            self._state.close()
            await engine.close()

    async def readiness(self) -> Readiness:
        """Return whether the index follows the chain, the reason if it does not, and the numbers of its progress."""
        try:
            state = await self._state.get()
        except StoreError as error:
            return Readiness(ready=False, reason=str(error))
        progress, depth, waiting, stuck = state.progress, state.depth, state.waiting, state.stuck
        _publish(progress, depth, waiting, len(stuck))
        metrics.EVENTS_PER_MINUTE.set(self._rate.per_minute(self._engine.worker.events_total))
        trouble = self._engine.scanner.trouble
        reason = self._outages.reason
        reason = reason or _why_not_ready(progress, depth, self._settings.indexer_scan_interval_s, trouble)
        reason = reason or _why_unconfirmed(waiting)
        details = {
            "tip_slot": progress.tip_slot,
            "final_slot": progress.final_slot,
            "gap_free_slot": progress.gap_free_through_slot,
            "inbox_pending": depth.pending,
            "inbox_oldest_s": depth.oldest_s,
            "inbox_unproven": depth.unproven,
            "unconfirmed": waiting.number,
            "unconfirmed_oldest_s": waiting.oldest_s,
            "dead_letters": depth.dead,
            "stuck_markets": dict(stuck[:10]),
            "scan_age_s": progress.scan_age_s,
            "rpc_refused": self._engine.rpc.refusals(),
        }
        return Readiness(ready=not reason, reason=reason, details=details)

    async def _read_state(self) -> _IndexReading:
        pool = self._engine.pool
        progress = await index_progress.read(pool)
        assert progress is not None  # claimed when the service was opened
        depth, waiting = await inbox_backlog.depth(pool), await deliveries.waiting(pool)
        return _IndexReading(progress, depth, waiting, await projections.stuck(pool))

    def health(self) -> Mapping[str, object]:
        """Return how many events were indexed, in total and per minute."""
        total = self._engine.worker.events_total
        return {"events_total": total, "events_per_minute": self._rate.per_minute(total)}

    def asgi(self, probes: ProbeMiddleware = no_probes) -> AsgiApp:
        """Return the application of the webhook, wrapped in `probes`."""
        return probes(self._app)

    async def _wake(self, stop: StopSignal, signals: tuple[WakeSignal, ...]) -> None:
        """Wake the loops of `signals` whenever the database notifies of new inbox rows."""

        def wake() -> None:
            self._outages.end(_LISTENING)
            for signal in signals:
                signal.wake()

        async def listen() -> float:
            await inbox.listen(self._engine.pool, wake)
            log.warning("listening connection lost")
            return _RECONNECT_S

        await retrying(listen, stop, _LISTENING, self._outages, retry_s=_RECONNECT_S)


class EventRate:
    """Compute events per minute from samples of a counter that only grows."""

    def __init__(self) -> None:
        self._samples: deque[tuple[float, int]] = deque([(time.monotonic(), 0)])

    def per_minute(self, total: int) -> float:
        """Return the events per minute over the last minute; `total` is the counter's present value."""
        now = time.monotonic()
        while len(self._samples) > 1 and self._samples[1][0] < now - 60:
            self._samples.popleft()
        then, before = self._samples[0]
        if now - self._samples[-1][0] >= 1:
            self._samples.append((now, total))
        return round((total - before) * 60 / max(now - then, 1), 1)


def _why_not_ready(progress: IndexProgress, depth: InboxDepth, scan_interval_s: float, trouble: str) -> str:
    if progress.scan_age_s is None:
        return _with_cause("the first scan of the chain has not ended", trouble)
    if progress.scan_age_s > MAX_LAG_S + scan_interval_s:
        reason = f"the chain was last scanned {progress.scan_age_s:.0f} s ago: is the RPC there?"
        return _with_cause(reason, trouble)
    if depth.oldest_s is not None and depth.oldest_s > MAX_LAG_S:
        reason = f"{depth.pending} transactions wait to be indexed, the oldest for {depth.oldest_s:.0f} s"
        return _with_cause(reason, depth.oldest_error or "")
    if depth.gap_slot is not None:
        return (
            f"a gap in slot {depth.gap_slot}: {depth.dead} transactions could not be indexed, "
            "see `zmart indexer dead-letters list`"
        )
    return ""


def _why_unconfirmed(waiting: UnconfirmedBacklog) -> str:
    """Return why unconfirmed deliveries make the service not ready; "" if they do not.

    Only deliveries that the RPC lists count: a sender who knows the webhook's secret can invent the others.
    """
    if waiting.oldest_listed_s is None or waiting.oldest_listed_s <= UNCONFIRMED_S:
        return ""
    reason = (
        f"{waiting.listed} deliveries are not confirmed by the RPC, which lists them, the oldest for "
        f"{waiting.oldest_listed_s:.0f} s"
    )
    return _with_cause(reason, waiting.last_error or "")


def _with_cause(reason: str, cause: str) -> str:
    return f"{reason} ({cause})" if cause else reason


def _publish(progress: IndexProgress, depth: InboxDepth, waiting: UnconfirmedBacklog, stuck: int) -> None:
    metrics.TIP_SLOT.set(progress.tip_slot)
    metrics.GAP_FREE_SLOT.set(progress.gap_free_through_slot)
    metrics.LAG_SLOTS.set(max(0, progress.tip_slot - progress.gap_free_through_slot))
    metrics.FINAL_SLOT.set(progress.final_slot)
    metrics.SCAN_AGE_SECONDS.set(math.nan if progress.scan_age_s is None else progress.scan_age_s)
    metrics.INBOX_DEPTH.set(depth.pending)
    metrics.INBOX_OLDEST_SECONDS.set(depth.oldest_s or 0)
    metrics.INBOX_UNPROVEN.set(depth.unproven)
    metrics.UNCONFIRMED.set(waiting.number)
    metrics.UNCONFIRMED_OLDEST_SECONDS.set(waiting.oldest_s or 0)
    metrics.DEAD_LETTERS.set(depth.dead)
    metrics.STUCK_MARKETS.set(stuck)
