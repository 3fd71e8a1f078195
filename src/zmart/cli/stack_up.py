"""Implement `zmart up`: start the stack, show its progress, and stop it at the end."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType

from rich.console import Console
from rich.style import Style
from rich.table import Table
from rich.text import Text

from zmart.cli.stack_progress import StartView
from zmart.cli.supervising_output import LossyStream, plain_console
from zmart.errors import ConfigError
from zmart.local import held_decisions
from zmart.local.addresses import stack_file
from zmart.local.process_group import end_members
from zmart.local.processes import StartError, start_command
from zmart.local.readiness import fetch_report
from zmart.local.stack import LocalStack, erase_home, read_record, supervisor_of
from zmart.local.stack_locks import only_one_start, working
from zmart.local.startup import StackStart, is_up, stop_stack
from zmart.local.supervision import SupervisionError
from zmart.local.unfinished import restore_record, why_unfinished
from zmart.ops.disk import full_disk
from zmart.ops.traces import check as check_traces
from zmart.settings import settings

POLL_SECONDS = 1.0
READY_SECONDS = 15.0
"""How long a service of a running stack may take to be ready, such as one that was just restarted."""
OK, FAILED = 0, 1


def run(*, detach: bool, fresh: bool, hold: bool | None, demo: bool, as_json: bool) -> int:
    """Start the stack, and return the exit status. In the foreground this function returns when the stack has ended.

    A stack that runs only in part is stopped and started. `hold` is True to hold decisions from now on, False to
    release them, None to leave that as it is. Messages that cannot be written are lost; only with `detach`, and if the
    stack runs already, that is an OSError.
    """
    stdout = LossyStream(sys.stdout)
    messages, json_to = (LossyStream(sys.stderr), stdout) if as_json else (stdout, None)
    console = plain_console(messages)
    check_traces()
    home = settings().zmart_home.resolve()
    with only_one_start(home), ExitStack() as locks:
        if is_up(home):
            if not (unfinished := why_unfinished(home)):
                _refuse_options(fresh=fresh, hold=hold)
                return _written(_already_running(console, home, json_to, demo=demo), messages, stdout)
            locks.enter_context(working(home, alone=True))
            console.print(f"{unfinished} Stopping it, and starting all of it ...")
        if hold is False and settings().hold_decisions:
            raise ConfigError("HOLD_DECISIONS is set, so nothing is released: unset it first.")
        session = StackSession(console, home)
        session.start(fresh=fresh, detach=detach, hold=hold)
    _show(console, home, json_to)
    if detach:
        return _written(_demo(as_json) if demo else OK, messages, stdout)
    if not demo:
        return session.stay()
    played = _demo(as_json)
    if session.stopped:
        return session.stay()
    _show(console, home, json_to)
    with _traffic():
        console.print("Light traffic continues in one open market; Ctrl-C stops everything.")
        return session.stay() or played


def _refuse_options(*, fresh: bool, hold: bool | None) -> None:
    """Raise ConfigError for an option that a running stack cannot follow."""
    if fresh:
        raise ConfigError("The stack is running: `zmart stop` first, then `zmart up --fresh`.")
    if hold is not None:  # running services keep on as they started
        option = "--hold-decisions" if hold else "--release-decisions"
        raise ConfigError(f"The stack is running: `zmart stop` first, then `zmart up {option}`.")


def _already_running(console: Console, home: Path, json_to: LossyStream | None, *, demo: bool) -> int:
    """Show the stack, whose processes all run, and return the exit status: 1 if a service does not become ready."""
    console.print("The stack is already running (`zmart ps`, `zmart stop`).")
    if restore_record(settings(), home):
        console.print(f"{stack_file(home)} could not be read, and is written again.")
    _show(console, home, json_to)
    if reasons := _why_not_ready(home, READY_SECONDS):
        console.print("\n".join(reasons))
        return FAILED
    return _demo(json_to is not None) if demo else OK


def _why_not_ready(home: Path, seconds: float) -> list[str]:
    """Return a sentence for each service of the running stack that does not become ready within `seconds`."""
    record = read_record(home)
    urls = record.ready_paths if record else {}
    deadline = time.monotonic() + seconds
    while True:
        with ThreadPoolExecutor(max(1, len(urls))) as threads:
            reports = dict(zip(urls, threads.map(fetch_report, urls.values()), strict=True))
        waiting = {name: report.reason for name, report in reports.items() if not report.ready}
        if not waiting or time.monotonic() > deadline:
            return [
                f"The {name} is not ready: {reason.rstrip('.')} (see `zmart logs {name}`)."
                for name, reason in waiting.items()
            ]
        time.sleep(POLL_SECONDS)


def _written(status: int, *outputs: LossyStream) -> int:
    """Return the exit status, or raise the OSError of an output: its reader has not got all of the messages."""
    for output in outputs:
        if output.error is not None:
            raise output.error
    return status


class StackSession:
    """Run the stack for this command: handle signals, and in the foreground stop the stack at the end."""

    def __init__(self, console: Console, home: Path) -> None:
        self._console = console
        self._home = home
        self._stop = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *, fresh: bool, detach: bool, hold: bool | None) -> None:
        """Stop the processes of an earlier stack, and start a new one.

        `fresh` first deletes all data; `hold` is that of `run`. Without `detach` the stack ends with this process. If
        the start fails, all processes are stopped; raises the errors of `StackStart.start`.
        """
        if count := stop_stack(self._home):
            self._console.print(f"Ended {count} processes of an earlier stack.")
        if fresh:
            erase_home(settings())
        if hold is not None:
            (held_decisions.hold if hold else held_decisions.release)(self._home)
        stack = LocalStack(settings(), self._say)
        names = [program.name for program in stack.servers()]
        with StartView(self._console, names) as view:
            begin = StackStart(stack, view.show, self._say)
            self._on_signals(begin.stop)
            try:
                self._process = begin.start(stop_with_us=not detach)
            except BaseException as problem:
                disk = full_disk(self._home)  # checked first: processes that end may free some space
                stop_stack(self._home)
                if disk and isinstance(problem, StartError):
                    raise StartError(f"{disk} {problem}") from None
                raise

    @property
    def stopped(self) -> bool:
        """Return whether a signal has requested the end of the stack."""
        return self._stop.is_set()

    def _on_signals(self, starting: threading.Event) -> None:
        def end(number: int, frame: FrameType | None) -> None:
            starting.set()
            self._stop.set()

        numbers = [signal.SIGINT, signal.SIGTERM]
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # nohup lets processes ignore it
            numbers.append(signal.SIGHUP)
        for number in numbers:
            signal.signal(number, end)

    def _say(self, sentence: str) -> None:
        self._console.print(sentence)

    def stay(self) -> int:
        """Wait for a signal to this process, and stop the stack then; return the exit status.

        Return also when the stack has ended by `zmart stop` or an error. Print a sentence for each process that ends.
        """
        assert self._process is not None
        watcher = ProcessWatcher(self._home)
        while not self._stop.wait(POLL_SECONDS):
            if self._process.poll() is not None:
                end_members(self._home)
                return self._ended(self._process.returncode)
            for sentence in watcher.new_exits():
                self._say(sentence)
        with self._console.status("Stopping ..."):
            stop_stack(self._home)
            self._process.wait()
        self._say("Stopped.")
        return OK

    def _ended(self, code: int) -> int:
        if code == 0:
            self._say("Stopped.")
            return OK
        self._say(f"supervisord ended with {code} and everything with it: run `zmart up` again.")
        return FAILED


class ProcessWatcher:
    """Report processes of the stack that ended or were started again."""

    def __init__(self, home: Path) -> None:
        self._supervisor = supervisor_of(home)
        self._states: dict[str, tuple[str, int]] = {}

    def new_exits(self) -> list[str]:
        """Return a sentence for each process whose pid changed since the last call: it ended, or was started again.

        The list is empty at the first call, and while supervisord does not answer.
        """
        try:
            now = {info.name: (info.state, info.pid) for info in self._supervisor.processes()}
        except SupervisionError:
            return []
        before, self._states = self._states, now
        return [
            f"{name}: {state.lower()}" + (f" (pid {pid})" if pid else "") + f", see `zmart logs {name}`"
            for name, (state, pid) in now.items()
            if name in before and before[name] != (state, pid) and before[name][1] != pid
        ]


def _show(console: Console, home: Path, json_to: LossyStream | None) -> None:
    """Print the addresses of the running stack; as JSON to `json_to` if that is given. Raises ConfigError."""
    record = read_record(home)
    if record is None:
        raise ConfigError(f"The stack in {home} is not ready yet: see `zmart ps`.")
    if held_decisions.is_held(home):
        console.print(held_decisions.HELD)
    if json_to is not None:
        result = {
            "addresses": record.addresses,
            "ready": record.ready_paths,
            "page_settings": record.page_settings,
        }
        json_to.write(json.dumps({**result, "home": str(home)}) + "\n")
        return
    table = Table(show_header=False, box=None, pad_edge=False)
    for name, address in record.addresses.items():
        is_page = address.startswith("http")
        table.add_row(name, Text(address, Style(link=address) if is_page else ""))
    console.print(table)
    if {"PostgreSQL", "Redis"} & record.addresses.keys():
        console.print("PostgreSQL and Redis want passwords: `zmart psql` and `zmart redis-cli` know them.")
    if record.page_settings:
        console.print("\nSettings of a front end on this machine (elsewhere: CORS_ORIGIN, docs/api.md):")
        console.print("\n".join(f"{name}={value}" for name, value in record.page_settings.items()))


def _demo(as_json: bool) -> int:
    """Run the demo in a separate process, which Ctrl-C reaches and whose memory is freed; return the exit status."""
    command = [sys.executable, "-m", "zmart.cli", "demo", *(["--json"] if as_json else [])]
    return OK if subprocess.run(command, check=False).returncode == 0 else FAILED


@contextmanager
def _traffic() -> Iterator[None]:
    """Run light traffic in a separate process during the block. The kernel ends that process with this one."""
    command = start_command(
        [sys.executable, "-m", "zmart.cli", "demo", "--traffic"], die_with_parent=signal.SIGTERM
    )
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        process.wait()
