"""Print the progress of the demo while it plays, and its results at the end, in a form that fits the terminal."""

from __future__ import annotations

from collections.abc import Iterator

from rich.cells import cell_len
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from zmart.local.demo.report import ConsistencyCheck, DemoReport, StepResult
from zmart.market.types import MarketState

WIDE_COLUMNS = 110
"""The terminal width from which the table of all steps is printed at the end; below it a line for each market."""


def live_line(result: StepResult, width: int) -> str:
    """Return one line, with rich's markup, for a finished step: what each source showed, as far as `width` columns have
    room for it. An error is never cut."""
    begin = f"✓ {result.market:<10} {result.step:<34} {result.seconds:5.2f} s"
    if result.error:
        return f"[red]✗[/]{escape(begin[1:])}  [red]{escape(result.error)}[/]"
    seen = ""
    for part in filter(None, (result.index, result.socket, result.snapshot)):
        longer = f"{seen} · {part}" if seen else f"  {part}"
        if cell_len(begin + longer) > width:
            break
        seen = longer
    return f"[green]✓[/]{escape(begin[1:])}[dim]{escape(seen)}[/]"


def show(report: DemoReport, console: Console) -> None:
    """Print the results: all steps, or a line for each market if the terminal is narrow; the checks; and a sentence."""
    if console.width >= WIDE_COLUMNS:
        console.print(_steps(report))
        console.print(_books(report))
    else:
        for line in _market_lines(report):
            console.print(line, soft_wrap=True)
        for check in report.books:
            console.print(_check_line(check), soft_wrap=True)
    if report.ok:
        console.print(
            f"[bold green]All {len(report.steps)} steps and {len(report.books)} checks hold, "
            f"in {report.seconds:.1f} s.[/]"
        )
    else:
        failed = report.failed_step or ", ".join(check.name for check in report.books if not check.ok)
        console.print(f"[bold red]Failed: {escape(failed)}[/]", soft_wrap=True)


def in_slot_order(steps: list[StepResult]) -> list[StepResult]:
    """Return the steps by their slots: the services decide about several markets at once, and the demo waits for one
    after the other. A step without a slot stays behind the one before it."""
    keyed, latest = [], 0
    for step in steps:
        latest = latest if step.slot is None else step.slot
        keyed.append((latest, step))
    return [step for _, step in sorted(keyed, key=lambda pair: pair[0])]


def _steps(report: DemoReport) -> Table:
    table = Table(title="A market's life", title_justify="left", header_style="bold", expand=False)
    for heading in ("", "market", "step", "transaction", "slot", "index", "socket", "snapshot", "s"):
        table.add_column(heading, justify="right" if heading in ("slot", "s") else "left")
    for step in in_slot_order(report.steps):
        table.add_row(
            _mark(step.ok),
            step.market,
            step.step,
            f"{step.transaction[:8]}…" if step.transaction else "",
            "" if step.slot is None else str(step.slot),
            escape(step.index) if step.ok else f"[red]{escape(step.error)}[/]",
            step.socket,
            step.snapshot,
            f"{step.seconds:.2f}",
        )
    return table


def _market_lines(report: DemoReport) -> Iterator[str]:
    """Yield a line for each market: its steps, its slots from the first to the last, and the last state it reached."""
    for market in dict.fromkeys(step.market for step in report.steps if step.market != "all" or not step.ok):
        steps = [step for step in report.steps if step.market == market]
        slots = [step.slot for step in steps if step.slot is not None]
        states = [step.index for step in steps if step.index.partition(" ")[0] in MarketState.__members__]
        seen = (
            f"{len(steps):>2} steps",
            f"slots {min(slots)} to {max(slots)}" if slots else "",
            *states[-1:],
        )
        yield f"{_mark(all(step.ok for step in steps))} {market:<10}  {'  '.join(filter(None, seen))}"


def _check_line(check: ConsistencyCheck) -> str:
    return f"{_mark(check.ok)} {escape(check.name)}: {escape(check.detail)}"


def _books(report: DemoReport) -> Table:
    table = Table(title="Consistency checks", title_justify="left", header_style="bold", expand=False)
    table.add_column("")
    table.add_column("check")
    table.add_column("result")
    for check in report.books:
        table.add_row(_mark(check.ok), escape(check.name), escape(check.detail))
    return table


def _mark(ok: bool) -> str:
    return "[green]✓[/]" if ok else "[red]✗[/]"
