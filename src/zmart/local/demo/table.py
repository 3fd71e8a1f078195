"""Print the progress of the demo while it plays, and its results at the end, in a form that fits the terminal."""

from __future__ import annotations

from collections.abc import Iterator

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from zmart.local.demo.report import ConsistencyCheck, DemoReport, StepResult
from zmart.market.types import MarketState
from zmart.printable import printable

WIDE_COLUMNS = 110
"""The terminal width from which the table of all steps is printed at the end; below it a line for each market."""


def live_line(result: StepResult, width: int) -> Text:
    """Return one line for a finished step: what each source showed, as far as `width` columns have room for it. An
    error is never cut."""
    begin = f"✓ {result.market:<10} {result.step:<34} {result.seconds:5.2f} s"
    if result.error:
        return Text.assemble(("✗", "red"), begin[1:], "  ", (printable(result.error), "red"))
    seen = ""
    for part in filter(None, (result.index, result.socket, result.snapshot)):
        longer = f"{seen} · {part}" if seen else f"  {part}"
        if cell_len(begin + longer) > width:
            break
        seen = longer
    return Text.assemble(("✓", "green"), begin[1:], (printable(seen), "dim"))


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
        console.print(Text(f"Failed: {printable(failed)}", "bold red"), soft_wrap=True)


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
            _text(step.market),
            _text(step.step),
            _text(f"{step.transaction[:8]}…" if step.transaction else ""),
            "" if step.slot is None else str(step.slot),
            _text(step.index) if step.ok else _text(step.error, "red"),
            _text(step.socket),
            _text(step.snapshot),
            f"{step.seconds:.2f}",
        )
    return table


def _market_lines(report: DemoReport) -> Iterator[Text]:
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
        line = f" {market:<10}  {'  '.join(filter(None, seen))}"
        yield Text.assemble(_mark(all(step.ok for step in steps)), printable(line))


def _check_line(check: ConsistencyCheck) -> Text:
    return Text.assemble(_mark(check.ok), " ", printable(f"{check.name}: {check.detail}"))


def _books(report: DemoReport) -> Table:
    table = Table(title="Consistency checks", title_justify="left", header_style="bold", expand=False)
    table.add_column("")
    table.add_column("check")
    table.add_column("result")
    for check in report.books:
        table.add_row(_mark(check.ok), _text(check.name), _text(check.detail))
    return table


def _mark(ok: bool) -> Text:
    return Text("✓", "green") if ok else Text("✗", "red")


def _text(text: str, style: str = "") -> Text:
    """Return the text of a cell. rich would read a str as markup."""
    return Text(printable(text), style)
