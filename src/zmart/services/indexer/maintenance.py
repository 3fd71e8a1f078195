"""Maintain the index: run audits on a schedule, raise alerts, delete old rows, make partitions in advance."""

from __future__ import annotations

import time

import structlog

from zmart.decisions.refused_endpoints import report_refused
from zmart.errors import ChainError
from zmart.services.indexer import metrics
from zmart.services.indexer.audit import AuditReport, Difference, audit
from zmart.services.indexer.engine import Engine
from zmart.services.indexer.event_partitions import PartitionKeeper
from zmart.services.indexer.wake_signal import WakeSignal
from zmart.store import alerts, chain_events, deliveries, inbox, inbox_backlog, projections
from zmart.store.retrying import Outages, retrying

_INTERVAL_S = 5.0
_KEEP_DONE_S = 3600.0
_WAITS_LONG_S = 60.0
_FALSE_S = 3600.0
_KEEP_FALSE_S = 30 * 86400.0
_LATE_S, _VERY_LATE_S = 120.0, 600.0
_DISPLAYED = 5
log = structlog.get_logger()


class Maintenance:
    """Prune tables, raise and resolve alerts every five seconds, and audit the index against the chain.

    An audit is due every `audit_interval_s` seconds (0: never), and at once when events that a truncated log had lost
    were recovered.
    """

    def __init__(self, engine: Engine, audit_interval_s: float) -> None:
        self._engine = engine
        self._interval_s = audit_interval_s
        self._audited_at = time.monotonic()
        self._partitions = PartitionKeeper(engine.pool)

    async def run(self, signal: WakeSignal, outages: Outages) -> None:
        """Run the maintenance every five seconds until the service stops."""
        await retrying(self._run_then_pause, signal, "Maintenance", outages)

    async def _run_then_pause(self) -> float:
        try:
            await self.run_once()
        except ChainError as error:
            log.warning("audit impossible", error=str(error))
        return _INTERVAL_S

    async def run_once(self) -> None:
        """Prune tables, make partitions, raise or resolve every alert, and audit the index if that is due.

        Raises ChainError when an audit cannot read the chain.
        """
        await inbox.prune(self._engine.pool, _KEEP_DONE_S)
        await deliveries.prune(self._engine.pool, _KEEP_FALSE_S)
        await self._alert_dead_letters()
        await self._alert_waiting()
        await self._alert_stuck()
        await self._alert_unknown()
        await self._alert_false_deliveries()
        await self._alert_unconfirmed()
        await self._alert_not_final()
        await self._alert_backwards()
        await self._alert("index-outside-partitions", "warning", await self._partitions.turn())
        await report_refused(self._engine.pool, self._engine.witnesses, "indexer")
        if self._is_due():
            await self.audit()

    async def audit(self) -> AuditReport:
        """Audit the index now: raise the alert index-differs if it differs from the chain, else resolve that alert.

        Raises ChainError when the RPC cannot return the accounts.
        """
        recovered, self._engine.worker.recovered = self._engine.worker.recovered, set()
        self._audited_at = time.monotonic()
        try:
            report = await audit(
                self._engine.pool, self._engine.rpc, self._engine.program, self._engine.pricing
            )
        except BaseException:
            self._engine.worker.recovered |= recovered
            raise
        metrics.AUDIT_DIFFERENCES.set(len(report.differences))
        await self._alert("index-differs", "critical", _about(report.differences))
        return report

    def _is_due(self) -> bool:
        if self._engine.worker.recovered:
            return True
        return bool(self._interval_s) and time.monotonic() - self._audited_at >= self._interval_s

    async def _alert_dead_letters(self) -> None:
        dead = (await inbox_backlog.depth(self._engine.pool)).dead
        text = f"{dead} transactions could not be indexed: see `zmart indexer dead-letters list`."
        await self._alert("index-dead-letters", "critical", text if dead else "")

    async def _alert_waiting(self) -> None:
        """Raise the alert index-unreadable, with the node's messages, while transactions have waited for over a minute.

        Each of them is requested again without limit and holds the gap-free slot. Without any, resolve the alert.
        """
        waiting = await inbox_backlog.waiting(self._engine.pool, _WAITS_LONG_S, _DISPLAYED + 1)
        lines = [
            f"{w.signature} (slot {w.slot}, {w.attempts} attempts): {w.last_error}"
            for w in waiting[:_DISPLAYED]
        ]
        more = "; and more" if len(waiting) > _DISPLAYED else ""
        text = f"Transactions cannot be read for now; they are asked for again, and decisions wait: {'; '.join(lines)}"
        await self._alert("index-unreadable", "critical", text + more if waiting else "")

    async def _alert_stuck(self) -> None:
        stuck = await projections.stuck(self._engine.pool, _DISPLAYED)
        text = "; ".join(f"market {market_id} is stuck: {reason}" for market_id, reason in stuck)
        await self._alert("index-stuck-markets", "critical", text)

    async def _alert_unknown(self) -> None:
        unknown = await chain_events.unknown(self._engine.pool, _DISPLAYED)
        text = (
            f"The program emitted events that this version does not know, last in {', '.join(unknown)}: "
            "check SOLANA_IDL_PATH, update, then `zmart indexer reread`."
        )
        await self._alert("index-unknown-events", "warning", text if unknown else "")

    async def _alert_false_deliveries(self) -> None:
        number, newest = await deliveries.false_ones(self._engine.pool, _FALSE_S, _DISPLAYED)
        named = "; ".join(
            f"{one.signature}, received {one.received_at:%Y-%m-%d %H:%M:%S} UTC: {', '.join(one.differs)}"
            for one in newest
        )
        text = (
            f"{number} deliveries by webhook in the last hour said what the chain does not; they were replaced by "
            f"what the RPC shows. The sender knows the webhook's secret: {named}."
        )
        await self._alert("index-false-deliveries", "critical", text if number else "")

    async def _alert_unconfirmed(self) -> None:
        waiting = await deliveries.waiting(self._engine.pool)
        is_late = (waiting.oldest_listed_s or 0) > _LATE_S or (waiting.oldest_s or 0) > _VERY_LATE_S
        text = (
            f"{waiting.number} deliveries wait for the RPC to show the same, the oldest for {waiting.oldest_s:.0f} s: "
            f"{waiting.last_error or 'it was not asked yet; see INDEXER_RPC_PER_S'}"
            if is_late
            else ""
        )
        await self._alert("index-unconfirmed", "warning", text)

    async def _alert_not_final(self) -> None:
        held = self._engine.finality.overdue
        named = "; ".join(
            f"{h.signature} (slot {h.slot}, indexed {h.age_s:.0f} s ago)" for h in held[:_DISPLAYED]
        )
        more = "; and more" if len(held) > _DISPLAYED else ""
        text = f"The RPC does not show transactions as final whose slots are; decisions wait for them: {named}{more}"
        await self._alert("index-not-final", "warning", text if held else "")

    async def _alert_backwards(self) -> None:
        slots = self._engine.scanner.backwards
        text = slots and (
            f"After slot {slots[0]} the chain went on with slot {slots[1]}: its clock was moved (a local chain only). "
            "Events are folded in the order of slots; if markets are stuck, start over with `zmart up --fresh`."
        )
        await self._alert("index-slots-backwards", "warning", text or "")

    async def _alert(self, key: str, severity: alerts.Severity, text: str) -> None:
        if text:
            await alerts.raise_alert(self._engine.pool, key, severity, text)
        else:
            await alerts.resolve_alert(self._engine.pool, key)


def _about(differences: list[Difference]) -> str:
    if not differences:
        return ""
    lines = [
        f"{d.kind} {d.account} {d.field}: {d.index!r}, on chain {d.chain!r}" for d in differences[:_DISPLAYED]
    ]
    return f"The index differs from the chain in {len(differences)} fields: {'; '.join(lines)}."
