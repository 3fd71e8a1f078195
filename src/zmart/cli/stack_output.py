"""Print a table of the stack's processes: once for `zmart ps`, refreshed for `zmart monit`."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from zmart.errors import ConfigError
from zmart.local.down_reasons import why_down
from zmart.local.held_decisions import HELD, is_held
from zmart.local.process_group import memory_bytes, without_supervisor
from zmart.local.readiness import ReadinessReport, fetch_report
from zmart.local.stack import read_record, supervisor_of
from zmart.local.supervision import ProcessInfo, SupervisionError, Supervisor, SupervisorHangs
from zmart.ops.disk import full_disk
from zmart.printable import printable, printable_line

MIB = 1024 * 1024
LONGEST_REASON = 500
"""The most characters of a reason that the table shows; JSON has all of it."""
_READY = {None: Text(""), True: Text("yes ", "green"), False: Text("no ", "red")}


class ProcessRow(msgspec.Struct, frozen=True):
    """A process as `zmart ps` shows it. `ready` is None for a process that does not run or has no readiness check.

    `reason` says why it is not ready or does not run, or what a ready process lacks.
    """

    name: str
    state: str
    pid: int
    uptime_s: int
    restarts: int
    memory_mib: float
    ready: bool | None
    reason: str


def full_names(supervisor: Supervisor, name: str) -> list[str]:
    """Return the "group:name" of the process `name`, or of each of the six services for "all".

    Raises ConfigError, which lists the names, if there is no such process; SupervisionError if no stack runs.
    """
    processes = supervisor.processes()
    if name == "all":
        return [f"{info.group}:{info.name}" for info in processes if info.group == "services"]
    for info in processes:
        if info.name == name:
            return [f"{info.group}:{info.name}"]
    names = ", ".join(info.name for info in processes)
    raise ConfigError(f"There is no process {name!r} here: all, or one of {names}.")


def rows(home: Path) -> list[ProcessRow]:
    """Return a row for every process of the running stack. Raises ConfigError if no stack runs, or SupervisorHangs."""
    supervisor = supervisor_of(home)
    try:
        processes = supervisor.processes()
    except SupervisorHangs:
        raise
    except SupervisionError:
        lost = without_supervisor(home)
        raise ConfigError(lost or f"No stack runs in {home}: start it with `zmart up`.") from None
    record = read_record(home)
    urls = record.ready_paths if record else {}
    checked = [info for info in processes if info.is_up and info.name in urls]
    with ThreadPoolExecutor(8) as threads:
        answers = dict(
            zip(
                (i.name for i in checked),
                threads.map(lambda i: fetch_report(urls[i.name]), checked),
                strict=True,
            )
        )
    spawns = supervisor.spawns()
    reasons = {info.name: why_down(supervisor, info) for info in processes if not info.is_up}
    disk = full_disk(home)  # precedes why a process is down, and is what one lacks that is ready or not asked
    return [
        _row(info, spawns.get(info.name, 0), answers.get(info.name), disk or reasons.get(info.name, ""))
        for info in processes
    ]


def _row(info: ProcessInfo, spawns: int, answer: ReadinessReport | None, otherwise: str) -> ProcessRow:
    # supervisord reports STARTING for a process's first seconds; a process that is ready has started.
    has_started = info.state == "STARTING" and answer is not None and answer.ready
    return ProcessRow(
        name=info.name,
        state="running" if has_started else info.state.lower(),
        pid=info.pid,
        uptime_s=info.uptime_s,
        restarts=max(0, spawns - 1),
        memory_mib=round(memory_bytes(info.pid) / MIB, 1) if info.pid else 0.0,
        ready=answer.ready if answer else None,
        reason=(answer.reason if answer else "") or otherwise,
    )


def print_processes(home: Path, *, as_json: bool) -> int:
    """Print the processes, and return the exit status: 1 if a process does not run or is not ready, else 0."""
    process_rows = rows(home)
    if as_json:
        print(json.dumps([msgspec.to_builtins(row) for row in process_rows]))
    else:
        Console(highlight=False).print(_view(process_rows, _notes(home)))
    return 0 if all(row.state == "running" and row.ready is not False for row in process_rows) else 1


def _notes(home: Path) -> list[str]:
    """Return the sentences about the whole stack: that the disk is full, and that decisions are held."""
    return list(filter(None, (full_disk(home), HELD if is_held(home) else "")))


def _view(process_rows: list[ProcessRow], notes: Sequence[str]) -> Group:
    """Return the table with the notes below it: as its caption they would be as narrow as it is."""
    return Group(_table(process_rows, notes), *(Text(printable(note)) for note in notes))


def _table(process_rows: list[ProcessRow], notes: Sequence[str] = ()) -> Table:
    """Return the table of processes, without the reasons that are among `notes`."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title, justify in (("process", "left"), ("state", "left"), ("pid", "right"), ("up", "right")):
        table.add_column(title, justify=justify)  # type: ignore[arg-type]  # rich names its literals privately
    for title in ("restarts", "memory"):
        table.add_column(title, justify="right")
    table.add_column("ready")
    for row in process_rows:
        # An RPC or a provider may have written it.
        reason = "" if row.reason in notes else printable_line(row.reason, LONGEST_REASON)
        table.add_row(
            row.name,
            Text(row.state, "green" if row.state == "running" else "red"),
            str(row.pid or ""),
            duration(row.uptime_s),
            str(row.restarts),
            f"{row.memory_mib:.0f} MiB",
            Text.assemble(_READY[row.ready], reason),  # a str would be markup
        )
    total = sum(row.memory_mib for row in process_rows)
    table.add_row("", "", "", "", "", Text(f"{total:.0f} MiB", "dim"), "")
    return table


def duration(seconds: int) -> str:
    """Format a duration in at most two units, such as 45s, 12m, 3h 5m or 2d 4h."""
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86_400
    if days:
        return f"{days}d {hours % 24}h"
    if hours:
        return f"{hours}h {minutes % 60}m"
    return f"{minutes}m" if minutes else f"{seconds}s"


def watch(home: Path, every_s: float) -> None:
    """Show the table of processes, refreshed every `every_s` seconds, until Ctrl-C. Raises as `rows`."""
    with Live(_current_view(home), console=Console(highlight=False), auto_refresh=False) as live:
        try:
            while True:
                live.update(_current_view(home), refresh=True)
                time.sleep(every_s)
        except KeyboardInterrupt:
            return


def _current_view(home: Path) -> Group:
    return _view(rows(home), _notes(home))
