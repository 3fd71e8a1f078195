"""The printed report of the live feed's benchmark: a line for each load and server, and whether the goals are met."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, field
from statistics import median

from comparison import Goal
from feed_servers import BARE, OURS
from report import BenchmarkReport
from rich import box
from rich.console import Console
from rich.table import Table

COST_GOAL, P99_GOAL = 2.5, 0.5
"""Goals at 1,000 clients, as multiples of the better peer's: least messages per processor second, largest p99."""
CROWD, CROWD_P99_GOAL_MS = (5_000, 20), 100.0
IDLE_GOAL_KIB = 12.0
STORM_GOAL_S = 5.0
_COLUMNS = (
    "load / server",
    "messages\n/s",
    "per CPU\nsecond",
    "p50\nms",
    "p99\nms",
    "memory\nMB",
    "to better\npeer",
)


@dataclass(frozen=True)
class FeedLoad:
    """The figures of one server under load; `starved` counts clients with less than half of the median's messages."""

    per_second: float
    per_cpu_second: float
    p50_ms: float
    p99_ms: float
    memory_mb: float
    starved: float


@dataclass(frozen=True)
class FeedRow:
    """The medians of one server under one load.

    `to_peer` is the ratio of its messages per processor second to the better peer's.
    """

    clients: int
    changes_per_s: int
    server: str
    load: FeedLoad
    to_peer: float
    goals: list[Goal] = field(default_factory=list)


@dataclass(frozen=True)
class IdleMemory:
    server: str
    kib_each: float


@dataclass(frozen=True)
class SlowReaders:
    """The figures of all other clients while some clients read nothing; `lost` counts those that lost their connection.

    `grown_mb` is by how much the server's memory grew.
    """

    server: str
    p99_ms: float
    grown_mb: float
    lost: int
    starved: int


@dataclass(frozen=True)
class Storm:
    """The figures of a storm: all clients connect again at once after the server was killed.

    `over_s` is the time until the last client is back, `apart_s` until the last of those with addresses of their own.
    `broken` counts clients whose sequence has a hole, a repeat or a reported gap; `attempts` is the mean number of
    attempts of a client to connect.
    """

    server: str
    over_s: float
    median_s: float
    apart_s: float
    broken: float
    holes: float
    repeats: float
    gaps: float
    attempts: float


@dataclass
class FeedReport(BenchmarkReport):
    """All figures of the live feed."""

    title: str
    rows: list[FeedRow] = field(default_factory=list)
    idle: list[IdleMemory] = field(default_factory=list)
    slow: list[SlowReaders] = field(default_factory=list)
    storms: list[Storm] = field(default_factory=list)

    def add(self, clients: int, changes_per_s: int, loads: Mapping[str, Sequence[FeedLoad]]) -> None:
        """Add the rows of one load, from the rounds of each server."""
        self.rows += rows(clients, changes_per_s, loads)

    def goals(self) -> list[Goal]:
        """Return every goal of our server that was judged."""
        return [
            *(goal for row in self.rows for goal in row.goals),
            *(idle_goal(each) for each in self.idle if each.server == OURS),
            *(goal for each in self.storms if each.server == OURS for goal in storm_goals(each)),
        ]


def rows(clients: int, changes_per_s: int, loads: Mapping[str, Sequence[FeedLoad]]) -> list[FeedRow]:
    """Return a row for each server in the order of `loads`; the row of our server has the goals."""
    middles = {name: _middle(each) for name, each in loads.items()}
    peers = [load for name, load in middles.items() if name not in {OURS, BARE}]
    best = max(load.per_cpu_second for load in peers)
    return [
        FeedRow(
            clients,
            changes_per_s,
            name,
            load,
            round(load.per_cpu_second / best, 2),
            load_goals(clients, changes_per_s, load, peers) if name == OURS else [],
        )
        for name, load in middles.items()
    ]


def load_goals(clients: int, changes_per_s: int, ours: FeedLoad, peers: Sequence[FeedLoad]) -> list[Goal]:
    """Judge the figures of our server, which are not rounded."""
    judged = []
    if clients == 1_000:
        best = max(load.per_cpu_second for load in peers)
        least_p99 = min(load.p99_ms for load in peers)
        judged = [
            Goal(f">= {COST_GOAL}x the better peer per CPU second", ours.per_cpu_second >= COST_GOAL * best),
            Goal(f"p99 <= {P99_GOAL}x the better peer's", ours.p99_ms <= P99_GOAL * least_p99),
        ]
    if (clients, changes_per_s) == CROWD:
        judged.append(Goal(f"p99 under {CROWD_P99_GOAL_MS:g} ms", ours.p99_ms < CROWD_P99_GOAL_MS))
    return judged


def idle_goal(idle: IdleMemory) -> Goal:
    return Goal(f"at most {IDLE_GOAL_KIB:g} KiB for an idle connection", idle.kib_each <= IDLE_GOAL_KIB)


def storm_goals(storm: Storm) -> list[Goal]:
    return [
        Goal(f"the storm is over in {STORM_GOAL_S:g} s", storm.over_s <= STORM_GOAL_S),
        Goal("no client's sequence is broken", storm.broken == 0),
    ]


def _middle(loads: Sequence[FeedLoad]) -> FeedLoad:
    """Return the median of each figure over several rounds."""
    return FeedLoad(*(median(figures) for figures in zip(*map(astuple, loads), strict=True)))


def show(report: FeedReport) -> None:
    table = Table(title=report.title, box=box.SIMPLE, pad_edge=False)
    for column in _COLUMNS:
        table.add_column(column, justify="left" if column == _COLUMNS[0] else "right", no_wrap=True)
    load = ""
    for row in report.rows:
        named = f"{row.clients:,} clients, {row.changes_per_s} changes/s"
        if named != load:
            load = named
            table.add_row(load, style="bold")
        table.add_row(*_cells(row))
        for goal in row.goals:
            table.add_row(*_goal_cell(goal), style=_style(goal))
    console = Console(width=None if sys.stdout.isatty() else 120)
    console.print(table)
    for line in _lines(report):
        console.print(line, highlight=False)


def _cells(row: FeedRow) -> Sequence[str]:
    load = row.load
    starved = f" ({load.starved:.0f} starved)" if load.starved else ""
    return (
        f"  {row.server}{starved}",
        f"{load.per_second:,.0f}",
        f"{load.per_cpu_second:,.0f}",
        f"{load.p50_ms:.1f}",
        f"{load.p99_ms:.1f}",
        f"{load.memory_mb:.0f}",
        f"{row.to_peer:.2f}x",
    )


def _goal_cell(goal: Goal) -> Sequence[str]:
    return (f"    {goal.text}: {'met' if goal.met else 'MISSED'}",)


def _style(goal: Goal) -> str:
    return "green" if goal.met else "red"


def _lines(report: FeedReport) -> list[str]:
    judged, machine = report.goals(), report.machine
    return [
        *(f"idle connection, {each.server}: {each.kib_each:.1f} KiB" for each in report.idle),
        *(
            f"every tenth client reads nothing, {each.server}: p99 of the others {each.p99_ms:.1f} ms, "
            f"{each.grown_mb:+.0f} MB, {each.lost} others lost, {each.starved} starved"
            for each in report.slow
        ),
        *(
            f"storm, {each.server}: over after {each.over_s:.2f} s (median {each.median_s:.2f}, other addresses "
            f"{each.apart_s:.2f}); {each.broken:.0f} broken sequences, {each.holes:.0f} changes missed, "
            f"{each.attempts:.1f} attempts each"
            for each in report.storms
        ),
        *(
            f"{goal.text}: {'met' if goal.met else 'MISSED'}"
            for goal in judged[sum(len(row.goals) for row in report.rows) :]
        ),
        f"{sum(goal.met for goal in judged)} of {len(judged)} goals met",
        f"{machine['cores']} cores, Node.js {machine['node']}, load before {machine['load_before']}; "
        f"{machine['python']}: {machine['build']}",
    ]


def options() -> argparse.Namespace:
    """Parse the command line of the benchmark."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--quick", action="store_true", help="fewer clients, shorter runs, once each")
    return parser.parse_args()
