"""Implement `zmart up`: start the stack, show its progress, and stop it at the end."""

from __future__ import annotations

import contextlib
import fcntl
import json
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

from rich.console import Console
from rich.table import Table

from zmart.cli.stack_progress import StartView
from zmart.errors import ConfigError
from zmart.local import held_decisions
from zmart.local.process_group import end_members
from zmart.local.processes import StartError, private_folder, start_command
from zmart.local.stack import LocalStack, erase_home, read_record
from zmart.local.startup import StackStart, is_up, stop_stack
from zmart.local.supervision import SupervisionError
from zmart.ops.disk import full_disk
from zmart.ops.traces import check as check_traces
from zmart.settings import settings

POLL_SECONDS = 1.0
OK, FAILED = 0, 1


def run(*, detach: bool, fresh: bool, hold: bool | None, demo: bool, as_json: bool) -> int:
    """Start the stack, and return the exit status. In the foreground this function returns when the stack has ended.

    `hold` is True to hold decisions from now on, False to release them, None to leave that as it is.
    """
    console = Console(stderr=as_json, highlight=False, soft_wrap=True)
    check_traces()
    home = settings().zmart_home.resolve()
    with _only_one_start(home):
        if is_up(home):
            if fresh:
                raise ConfigError("The stack is running: `zmart stop` first, then `zmart up --fresh`.")
            if hold is not None:  # running services keep on as they started
                option = "--hold-decisions" if hold else "--release-decisions"
                raise ConfigError(f"The stack is running: `zmart stop` first, then `zmart up {option}`.")
            console.print("The stack is already running (`zmart ps`, `zmart stop`).")
            return _show(console, home, as_json) or (_demo(as_json) if demo else OK)
        if hold is False and settings().hold_decisions:
            raise ConfigError("HOLD_DECISIONS is set, so nothing is released: unset it first.")
        session = StackSession(console, home)
        session.start(fresh=fresh, detach=detach, hold=hold)
    _show(console, home, as_json)
    if not demo:
        return OK if detach else session.stay()
    played = _demo(as_json)
    if detach or session.stopped:
        return played if detach else session.stay()
    _show(console, home, as_json)
    with _traffic():
        console.print("Light traffic continues in one open market; Ctrl-C stops everything.")
        return session.stay() or played


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
        from zmart.local.stack import supervisor_of

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


@contextlib.contextmanager
def _only_one_start(home: Path) -> Iterator[None]:
    private_folder(home)
    private_folder(home / "run")
    with (home / ".starting").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigError(f"Another `zmart up` is starting in {home}: wait for it.") from None
        yield


def _show(console: Console, home: Path, as_json: bool) -> int:
    record = read_record(home)
    if record is None:
        raise ConfigError(f"The stack in {home} is not ready yet: see `zmart ps`.")
    if held_decisions.is_held(home):
        console.print(held_decisions.HELD)
    if as_json:
        result = {
            "addresses": record.addresses,
            "ready": record.ready_paths,
            "page_settings": record.page_settings,
        }
        print(json.dumps({**result, "home": str(home)}))
        return OK
    table = Table(show_header=False, box=None, pad_edge=False)
    for name, address in record.addresses.items():
        table.add_row(name, f"[link={address}]{address}[/link]" if address.startswith("http") else address)
    console.print(table)
    if {"PostgreSQL", "Redis"} & record.addresses.keys():
        console.print("PostgreSQL and Redis want passwords: `zmart psql` and `zmart redis-cli` know them.")
    if record.page_settings:
        console.print("\nSettings of a front end on this machine (elsewhere: CORS_ORIGIN, docs/api.md):")
        console.print("\n".join(f"{name}={value}" for name, value in record.page_settings.items()))
    return OK


def _demo(as_json: bool) -> int:
    """Run the demo in a separate process, which Ctrl-C reaches and whose memory is freed; return the exit status."""
    command = [sys.executable, "-m", "zmart.cli", "demo", *(["--json"] if as_json else [])]
    return OK if subprocess.run(command, check=False).returncode == 0 else FAILED


@contextlib.contextmanager
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
