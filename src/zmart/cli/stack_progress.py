"""Show the progress of `zmart up`: a live line for each process on a terminal, plain lines elsewhere."""

from __future__ import annotations

import threading
import time
from types import TracebackType

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from zmart.services.contract import SERVICES


class StartView:
    """Show the state of each process during a block, and at its end how long the start took. Thread-safe."""

    def __init__(self, console: Console, servers: list[str]) -> None:
        self._console = console
        self._lock = threading.Lock()
        self._started_at = time.monotonic()
        self._since: dict[str, float] = {}
        self._tasks: dict[str, TaskID] = {}
        self._progress = Progress(
            SpinnerColumn(finished_text="[green]✓[/green]"),
            TextColumn("{task.description}"),
            TextColumn("[dim]{task.fields[state]}[/dim]"),
            TimeElapsedColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        for name in [*servers, "schema", *SERVICES]:
            self._tasks[name] = self._progress.add_task(f"{name:<11}", total=1, start=False, state="waiting")

    def __enter__(self) -> StartView:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()
        if error is None:
            self._console.print(f"Everything is ready after {time.monotonic() - self._started_at:.1f} s.")

    def show(self, name: str, state: str) -> None:
        """Show the state of the part `name` of the stack: "starting" or "ready"."""
        with self._lock:
            task = self._tasks[name]
            if state == "starting":
                self._since[name] = time.monotonic()
                self._progress.start_task(task)
                self._progress.update(task, state=state)
                return
            self._progress.update(task, state=state, completed=1)
            if not self._console.is_terminal:
                took = time.monotonic() - self._since.get(name, self._started_at)
                self._console.print(f"{name} is ready ({took:.1f} s)")
