"""Judge a day: memory, handles and small tables are flat, each effect happened once, and the probes were answered."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import median

import msgspec

from kit.effects import done_twice
from kit.soak.day import Day
from kit.soak.figures import Figures
from kit.soak.month import SnapshotDay
from zmart.settings import Settings

LEAST_UPTIME = 0.999
MOST_GROWTH_MIB = 15.0
MOST_MORE_HANDLES = 5
MOST_MORE_LOG = 1.25
KEPT_DAYS = 30
LEAST_QUARTER_TICKS = 24
"""Ticks in a quarter of a day that is judged for growth: in a shorter day, caches still fill."""
BOUNDED_TABLES = {
    "inbox": 2_000,
    "service_status": 50,
    "figure_history": 3_000,
    "unconfirmed_transactions": 500,
    "alerts": 200,
}
"""The largest numbers of rows of tables that hold work in progress and do not grow with the history."""


class Verdict(msgspec.Struct, frozen=True):
    """A promise, whether it holds, and the figures by which it was judged."""

    promise: str
    holds: bool
    figures: str


async def of(settings: Settings, day: Day, month: Sequence[SnapshotDay]) -> list[Verdict]:
    """Judge a day and a month of snapshots; effects that happened twice are read from the stack's database."""
    twice = await done_twice(settings.require("database_url"))
    return [
        _uptime(day), *_ticks(day), _lives(day), _feed(day),
        Verdict("each effect once", not twice, "; ".join(map(str, twice)) or "none doubled"),
        *flat(day, settings.local_chain_growth_mib), _retention(month),
    ]  # fmt: skip


def _uptime(day: Day) -> Verdict:
    least = min(day.uptime.values())
    failed = sum(bool(probe.why) for probe in day.probes)
    figures = f"least {least:.4%}, {failed} of {len(day.probes)} probes failed"
    return Verdict(f"every service answers {LEAST_UPTIME:.1%} of its probes", least >= LEAST_UPTIME, figures)


def _ticks(day: Day) -> list[Verdict]:
    """Judge the ticks of aggregator and monitor: as many as the schedule has, and none failed.

    Two ways to begin a tick must not make two ticks.
    """
    first, last = day.figures[0], day.figures[-1]
    expected = (last.at_s - first.at_s) / day.plan.tick_s
    verdicts = []
    for service in ("aggregator", "monitor"):
        good = last.ticks.get(f"{service} ok", 0) - first.ticks.get(f"{service} ok", 0)
        failed = last.ticks.get(f"{service} failed", 0) - first.ticks.get(f"{service} failed", 0)
        holds = abs(good - expected) <= 1.5 and failed == 0
        verdicts.append(
            Verdict(f"{service}: one tick each time", holds, f"{good} of {expected:.1f}, {failed} failed")
        )
    return verdicts


def _lives(day: Day) -> Verdict:
    figures = "; ".join(day.failed_lives) or f"{day.lives} lives, all books agree"
    return Verdict("every market's life ends as it must", not day.failed_lives, figures)


def _feed(day: Day) -> Verdict:
    figures = (
        f"{len(day.heard)} messages heard, {len(day.replayed)} in the replay, {day.reconnects} reconnects"
    )
    holds = bool(day.heard) and day.heard == day.replayed == sorted(set(day.heard))
    return Verdict("a listener of the feed got each message once", holds, figures)


def flat(day: Day, chain_may_grow_mib: int) -> list[Verdict]:
    """Compare the last quarter of the day with the second one; the first one, while caches fill, does not count.

    The local chain is judged as every other process, and by LOCAL_CHAIN_GROWTH_MIB (`chain_may_grow_mib`), the growth
    at which it restarts. A day that is too short has no such verdicts.
    """
    quarter = len(day.figures) // 4
    if quarter < LEAST_QUARTER_TICKS:
        return []
    early, late = day.figures[quarter : 2 * quarter], day.figures[-quarter:]
    memory = _growth(early, late, lambda figures: figures.memory_mib)
    chain_mib = [figures.memory_mib["chain"] for figures in day.figures if "chain" in figures.memory_mib]
    handles = _growth(early, late, lambda figures: figures.handles)
    handles.pop("postgres", None)  # each session keeps tables' files open, up to max_files_per_process
    logs = [_logged(part) for part in (early, late)]
    over = {
        table: most for table, bound in BOUNDED_TABLES.items()
        if (most := max(figures.rows.get(table, 0) for figures in late)) > bound
    }  # fmt: skip
    return [
        Verdict("memory is flat", max(memory.values()) <= MOST_GROWTH_MIB, _listed(memory, "MiB")),
        Verdict(
            f"the local chain grows by at most LOCAL_CHAIN_GROWTH_MIB ({chain_may_grow_mib})",
            max(chain_mib) - chain_mib[0] <= chain_may_grow_mib,
            f"{chain_mib[0]:.0f} MiB at first, at most {max(chain_mib):.0f}",
        ),
        Verdict("handles are flat", max(handles.values()) <= MOST_MORE_HANDLES, _listed(handles, "handles")),
        Verdict(
            "logs grow evenly",
            logs[1] <= MOST_MORE_LOG * logs[0],
            f"{logs[0]:.0f}, then {logs[1]:.0f} bytes/s",
        ),
        Verdict("tables of what is under way are small", not over, str(over or "all below their bounds")),
    ]


def _growth(
    early: Sequence[Figures], late: Sequence[Figures], of: Callable[[Figures], object]
) -> dict[str, float]:
    def middle(part: Sequence[Figures], process: str) -> float:
        return median(held[process] for each in part if process in (held := of(each)))  # type: ignore[operator, index]

    return {process: middle(late, process) - middle(early, process) for process in of(late[-1])}  # type: ignore[attr-defined]


def _logged(part: Sequence[Figures]) -> float:
    return (part[-1].log_bytes - part[0].log_bytes) / (part[-1].at_s - part[0].at_s)


def _listed(growth: dict[str, float], unit: str) -> str:
    return ", ".join(f"{process} {by:+.1f}" for process, by in growth.items()) + f" {unit}"


def _retention(month: Sequence[SnapshotDay]) -> Verdict:
    """Judge the snapshots: one a day, unpinned at the provider and in the database after 30 days, and no sooner."""
    wrong = []
    for age, day in enumerate(reversed(month)):
        kept = age < KEPT_DAYS
        if day.count != 1 or not day.verified or day.unpinned is kept or day.pinned_there is not kept:
            wrong.append(f"{age} days old: {day}")
    figures = (
        "; ".join(wrong) or f"{len(month)} days, {sum(day.unpinned for day in month)} past their retention"
    )
    return Verdict("one snapshot a day, kept for 30 days", not wrong, figures)
