"""Print the progress of the demo while it plays, and a table of its results at the end."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from zmart.local.demo.report import DemoReport, StepResult


def live_line(result: StepResult) -> str:
    """Return one line, with rich's markup, for a finished step."""
    mark = "[green]✓[/]" if result.ok else "[red]✗[/]"
    seen = " · ".join(part for part in (result.index, result.socket, result.snapshot) if part)
    tail = f"[red]{result.error}[/]" if result.error else f"[dim]{seen}[/]"
    return f"{mark} [bold]{result.market:<10}[/] {result.step:<34} {result.seconds:5.2f} s  {tail}"


def show(report: DemoReport, console: Console) -> None:
    """Print a table of the steps, a table of the checks, and a sentence about the result."""
    console.print(_steps(report))
    console.print(_books(report))
    if report.ok:
        console.print(
            f"[bold green]All {len(report.steps)} steps and {len(report.books)} checks hold, "
            f"in {report.seconds:.1f} s.[/]"
        )
    else:
        failed = report.failed_step or ", ".join(check.name for check in report.books if not check.ok)
        console.print(f"[bold red]Failed: {failed}[/]")


def _steps(report: DemoReport) -> Table:
    table = Table(title="A market's life", title_justify="left", header_style="bold", expand=False)
    for heading in ("", "market", "step", "transaction", "slot", "index", "socket", "snapshot", "s"):
        table.add_column(heading, justify="right" if heading in ("slot", "s") else "left")
    for step in report.steps:
        table.add_row(
            "[green]✓[/]" if step.ok else "[red]✗[/]",
            step.market,
            step.step,
            f"{step.transaction[:8]}…" if step.transaction else "",
            "" if step.slot is None else str(step.slot),
            step.index if step.ok else f"[red]{step.error}[/]",
            step.socket,
            step.snapshot,
            f"{step.seconds:.2f}",
        )
    return table


def _books(report: DemoReport) -> Table:
    table = Table(title="Consistency checks", title_justify="left", header_style="bold", expand=False)
    table.add_column("")
    table.add_column("check")
    table.add_column("result")
    for check in report.books:
        table.add_row("[green]✓[/]" if check.ok else "[red]✗[/]", check.name, check.detail)
    return table
