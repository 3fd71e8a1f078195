"""The printed report of the gateway's benchmark: a line for each load and subject, and whether the goals are met."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median

import comparison
import idle
from comparison import GATEWAY, Row
from report import BenchmarkReport
from rich import box
from rich.console import Console
from rich.table import Table
from turn import Turn

_COLUMNS = (
    "load / server", "requests\n/s", "p50\nms", "p99\nms", "to\nExpress", "to\nFastify", "p99 to\nExpress",
    "SQL /\nanswer",
)  # fmt: skip


@dataclass
class GatewayReport(BenchmarkReport):
    """The report: all rows, notes on how they were measured, and the memory of idle connections in MB.

    `checked_answers` counts the answers that were compared with the database under load.
    """

    title: str
    rows: list[Row] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    idle_mb: float = 0.0
    checked_answers: int = 0

    def add(self, load: str, taken: Mapping[str, Sequence[Turn]], *, cached: bool) -> None:
        """Add the rows of one load, from the turns of each subject."""
        loads = {name: [turn.load for turn in turns] for name, turns in taken.items()}
        statements = {
            name: round(median(turn.statements for turn in turns), 3) for name, turns in taken.items()
        }
        self.rows += comparison.rows(load, loads, statements, cached=cached)
        every = [turn for turns in taken.values() for turn in turns]
        self.checked_answers += sum(turn.checked for turn in every)
        due = sum(turn.due for turn in every)
        if due:
            committed = sum(turn.writes for turn in every)
            self.notes.append(f"{load}: {committed:,} of {due:,} writes were committed within the turns")


def show(report: GatewayReport) -> None:
    table = Table(title=report.title, box=box.SIMPLE, pad_edge=False)
    for column in _COLUMNS:
        table.add_column(column, justify="left" if column == _COLUMNS[0] else "right", no_wrap=True)
    load = ""
    for row in report.rows:
        if row.load != load:
            load = row.load
            table.add_row(load, style="bold")
        table.add_row(*_cells(row))
        for goal in row.goals:
            table.add_row(
                f"    {goal.text}: {'met' if goal.met else 'MISSED'}", style="green" if goal.met else "red"
            )
    console = Console(width=None if sys.stdout.isatty() else 120)
    console.print(table)
    for line in _lines(report):
        console.print(line, highlight=False)


def _cells(row: Row) -> Sequence[str]:
    statements = f"{row.statements:.2f}"
    figures = (f"{row.requests_per_s:,.0f}", f"{row.p50_ms:.2f}", f"{row.p99_ms:.2f}")
    ratios = (f"{row.to_express:.2f}", f"{row.to_fastify:.2f}", f"{row.p99_of_express:.2f}")
    return (f"  {row.subject}", *figures, *ratios, statements)


def _lines(report: GatewayReport) -> list[str]:
    judged = [goal for row in report.rows if row.subject == GATEWAY for goal in row.goals]
    met = "met" if report.idle_mb < idle.GOAL_MB else "MISSED"
    environment = report.machine
    return [
        f"{sum(goal.met for goal in judged)} of {len(judged)} goals met; "
        f"{report.checked_answers:,} answers checked under load",
        f"{idle.CONNECTIONS:,} idle keep-alive connections: {report.idle_mb:.1f} MB (< {idle.GOAL_MB:g} MB: {met})",
        f"{environment['cores']} cores, Node.js {environment['node']}, load before {environment['load_before']}; "
        f"benchmark: {environment['python']}: {environment['build']}",
        *(f"- {note}" for note in report.notes),
    ]
