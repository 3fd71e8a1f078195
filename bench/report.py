"""Print the report of a benchmark as a table or as JSON."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import TypeVar

import machine
from rich.console import Console
from rich.table import Table

from zmart.errors import ZmartError

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Figure:
    """One line of a report: our figure and the peer's.

    `ratio` compares both so that higher is better for us; `met` is None without a goal.
    """

    name: str
    ours: float
    unit: str
    peer: float | None = None
    ratio: float | None = None
    goal: str = ""
    met: bool | None = None


@dataclass(kw_only=True)
class BenchmarkReport:
    """The base of all reports, with the description of the machine."""

    machine: Mapping[str, object] = field(default_factory=dict)


@dataclass
class Report(BenchmarkReport):
    """All figures of one benchmark."""

    title: str
    peer: str
    figures: list[Figure] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def faster(self, name: str, ours: float, peer: float, unit: str, goal: float | None = None) -> None:
        """Add a figure of which more is better; its ratio is ours divided by the peer's, and must reach `goal`."""
        self._compared(name, ours, peer, unit, ours / peer if peer else 0.0, goal)

    def smaller(self, name: str, ours: float, peer: float, unit: str, goal: float | None = None) -> None:
        """Add a figure of which less is better; its ratio is the peer's divided by ours, and must reach `goal`."""
        self._compared(name, ours, peer, unit, peer / ours if ours else 0.0, goal)

    def _compared(
        self, name: str, ours: float, peer: float, unit: str, ratio: float, goal: float | None
    ) -> None:
        goal_text = "" if goal is None else f">= {goal:.1f}x"
        met = None if goal is None else round(ratio, 2) >= goal
        self.figures.append(Figure(name, ours, unit, peer, round(ratio, 2), goal_text, met))

    def under(self, name: str, ours: float, most: float, unit: str) -> None:
        self.figures.append(Figure(name, ours, unit, goal=f"< {most:g} {unit}", met=ours < most))

    def plain(self, name: str, ours: float, unit: str, peer: float | None = None) -> None:
        self.figures.append(Figure(name, ours, unit, peer))


AnyReport = TypeVar("AnyReport", bound=BenchmarkReport)


def main(measure: Callable[[bool, Progress], Report]) -> None:
    """Run the command line of a benchmark, which measures by `measure(quick, progress)`."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--quick", action="store_true", help="smaller data and shorter runs")
    options = parser.parse_args()
    run(lambda progress: measure(options.quick, progress), show, as_json=options.json)


def run(
    measure: Callable[[Progress], AnyReport], show: Callable[[AnyReport], None], *, as_json: bool
) -> None:
    """Measure, and print the report with the machine's description; a ZmartError is printed and ends with status 1."""
    console = Console(stderr=True)
    before = machine.described()
    if before["busy"]:
        console.print(
            f"The machine is busy (load {before['load_before']}): trust the ratios only.", style="yellow"
        )
    try:
        report = measure(lambda what: console.print(f"  {what}", style="dim"))
    except ZmartError as problem:
        sys.exit(str(problem))
    report.machine = before
    if as_json:
        json.dump(asdict(report), sys.stdout, indent=2)
        sys.stdout.write("\n")
    else:
        show(report)


def show(report: Report) -> None:
    table = Table(title=report.title)
    for column in ("figure", "ours", report.peer, "ratio", "goal"):
        table.add_column(column, justify="left" if column == "figure" else "right")
    for figure in report.figures:
        style = {None: "", True: "green", False: "red"}[figure.met]
        table.add_row(
            figure.name,
            _number(figure.ours, figure.unit),
            "" if figure.peer is None else _number(figure.peer, figure.unit),
            "" if figure.ratio is None else f"{figure.ratio:.2f}x",
            f"{figure.goal} {'met' if figure.met else 'MISSED'}" if figure.goal else "",
            style=style,
        )
    console = Console(width=None if sys.stdout.isatty() else 120)
    console.print(table)
    machine = report.machine
    console.print(
        f"{machine['python']}: {machine['build']}; {machine['cores']} cores, load before {machine['load_before']}"
    )
    for note in report.notes:
        console.print(f"- {note}")


def _number(value: float, unit: str) -> str:
    return f"{value:,.0f} {unit}" if abs(value) >= 100 else f"{value:.2f} {unit}"
