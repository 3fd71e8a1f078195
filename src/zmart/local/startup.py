"""Start and stop the local stack: first servers, schema and program, in parallel; then the six services."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

from zmart.errors import ConfigError
from zmart.local import process_group
from zmart.local.chain.keys import load_keys
from zmart.local.postgres import accepts_connections
from zmart.local.processes import private_folder, start_command
from zmart.local.readiness import (
    STOPPED,
    ReadinessReport,
    ReadinessWaiter,
    StartInterrupted,
    end_of,
    fetch_report,
)
from zmart.local.releases import record_release
from zmart.local.stack import SERVICE_GROUP, LocalStack, process_environment, supervisor_of
from zmart.local.stack_locks import only_one_start
from zmart.local.supervision import SupervisionError, SupervisorHangs
from zmart.local.unfinished import begin_start, end_start, why_unfinished
from zmart.market.durations import readable_duration
from zmart.services.contract import SERVICES
from zmart.settings import Settings

START_SECONDS = 90.0
STOP_SECONDS = 45.0
HUNG_STOP_SECONDS = 5.0
REPORTED_CLOCK_LEAD_S = 120
_JOBS = 6
_OTHERS_BEGIN_WITHIN_S = 0.3
"""Seconds after which the providers' start no longer waits for other servers that are still being prepared."""

Progress = Callable[[str, str], None]
"""A function `on_progress(name, state)`, called when a part of the stack is "starting" or "ready"."""


class StackStart:
    """Start a stack once. `stop.set()`, called in another thread or a signal handler, interrupts `start`.

    `say` gets sentences for the user.
    """

    def __init__(self, stack: LocalStack, on_progress: Progress, say: Callable[[str], None]) -> None:
        self._stack = stack
        self._on_progress = on_progress
        self._say = say
        # supervisord imports libraries when the first of our programs starts, and answers no call meanwhile.
        self._supervisor = supervisor_of(stack.home, START_SECONDS)
        self._waiter = ReadinessWaiter(self._supervisor, START_SECONDS)
        self._begun: set[str] = set()

    @property
    def stop(self) -> threading.Event:
        """Return the event that interrupts the start."""
        return self._waiter.stop

    def start(self, *, stop_with_us: bool) -> subprocess.Popen[bytes]:
        """Start all parts, record the stack, and return supervisord's process once all are ready.

        Call this method in the main thread. With `stop_with_us` the stack ends with this process, even if that is
        killed. Raises StartInterrupted if `stop` was set, else StartError, ConfigError, StoreError, ChainError or
        SupervisionError.
        """
        begin_start(self._stack.home)
        process = self._supervisord(stop_with_us)
        self._waiter.is_alive = lambda: process.poll() is None
        has_answered = False
        try:
            with self._waiter.watching():
                self._waiter.until("supervisord", self._supervisor.answers)
                has_answered = True
                self._servers()
                self._services()
        except BaseException as problem:
            self.stop.set()
            if not has_answered and process.poll() is None:
                process.terminate()  # it may not listen to calls yet, and no program runs under it
                raise
            end = end_of(supervisor_of(self._stack.home), process, STOP_SECONDS)
            if end and isinstance(problem, Exception) and not isinstance(problem, StartInterrupted):
                raise StartInterrupted(end) from None  # the problem was only a consequence
            raise
        self._stack.record()
        record_release(self._stack.home)
        end_start(self._stack.home)
        return process

    def _supervisord(self, stop_with_us: bool) -> subprocess.Popen[bytes]:
        stack, supervisor = self._stack, self._supervisor
        supervisor.write_config(stack.programs(), Path.cwd())
        command = supervisor.command()
        if stop_with_us:
            # The kernel signals supervisord when this process ends, even by kill -9.
            command = start_command(command, die_with_parent=signal.SIGTERM, parent=os.getpid())
        with (supervisor.logs / "supervisord.out").open("wb") as out:
            return subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                env={**process_environment(stack), **process_group.mark(stack.home)},
                start_new_session=True,
            )

    def _servers(self) -> None:
        """Start the servers in parallel, and prepare schema and program as soon as the servers they need answer."""
        stack = self._stack
        with ThreadPoolExecutor(_JOBS) as threads:

            def begin(part: object, job: Callable[[], None], *after: Future[None]) -> list[Future[None]]:
                return [threads.submit(self._guarded, job, after)] if part else []

            chain = begin(stack.chain, self._start_chain)
            postgres = begin(stack.postgres, self._start_postgres)
            started = [
                *chain,
                *postgres,
                *begin(stack.valkey, self._start_valkey),
                *begin(stack.parts.providers, self._start_providers),
                *begin(True, self._schema, *postgres, *chain),
                *begin(stack.chain, self._program, *chain),
            ]
            self._import_what_follows()
            _all(started)

    def _import_what_follows(self) -> None:
        """Import the modules that prepare schema and program, while the servers start."""
        import zmart.store.migrate

        if self._stack.chain is not None:
            import zmart.local.chain.genesis  # noqa: F401

    def _guarded(self, job: Callable[[], None], after: Sequence[Future[None]] = ()) -> None:
        try:
            _all(after)
            job()
        except BaseException as problem:
            if self.stop.is_set() and isinstance(problem, Exception):
                # Ctrl-C also ends programs that a job runs, such as initdb: their failure is a consequence.
                raise StartInterrupted(STOPPED) from problem
            self.stop.set()  # ends the waits of the other jobs: the start has failed
            raise

    def _start_postgres(self) -> None:
        server = self._stack.postgres
        assert server is not None
        self._on_progress("postgres", "starting")
        server.prepare()
        self._run("postgres", lambda: accepts_connections(server.port))
        server.ensure_database()
        self._on_progress("postgres", "ready")

    def _start_valkey(self) -> None:
        server = self._stack.valkey
        assert server is not None
        self._on_progress("valkey", "starting")
        server.prepare()
        self._run("valkey", server.answers)
        self._on_progress("valkey", "ready")

    def _start_chain(self) -> None:
        server = self._stack.chain
        assert server is not None
        self._on_progress("chain", "starting")
        server.prepare()
        self._run("chain", server.answers)

    def _start_providers(self) -> None:
        self._on_progress("providers", "starting")
        # The providers are the first of our programs: supervisord imports libraries and starts nothing else meanwhile.
        others = {program.name for program in self._stack.servers()} - {"providers"}
        latest = time.monotonic() + _OTHERS_BEGIN_WITHIN_S
        self._waiter.until("providers", lambda: others <= self._begun or time.monotonic() > latest)
        url = self._stack.ready_urls()["providers"]
        self._run("providers", lambda: fetch_report(url).ready)
        self._on_progress("providers", "ready")

    def _run(self, name: str, condition: Callable[[], bool]) -> None:
        self._supervisor.start(f"{name}:{name}")
        self._begun.add(name)
        self._waiter.until(name, condition)

    def _program(self) -> None:
        """Deploy the program and initialize its GlobalConfig; the chain is "ready" then."""
        stack = self._stack
        if stack.chain is None:
            return
        from zmart.chain.program import Program
        from zmart.chain.rpc import Rpc
        from zmart.local.chain.genesis import prepare_chain, shipped_program

        async def prepare() -> int:
            async with Rpc.from_settings(stack.effective) as rpc:
                program = Program.from_settings(stack.effective)
                await prepare_chain(rpc, program, load_keys(stack.home / "keys"), shipped_program())
                return (await rpc.get_clock("processed")).unix_timestamp

        ahead_s = asyncio.run(prepare()) - int(time.time())
        if ahead_s > REPORTED_CLOCK_LEAD_S:
            self._say(
                f"The local chain's clock is {readable_duration(ahead_s)} ahead: its slots and its time never decrease."
            )
        self._on_progress("chain", "ready")

    def _schema(self) -> None:
        """Migrate the database to the newest revision. Raises ConfigError if it holds another chain's history."""
        from zmart.store import migrate

        self._on_progress("schema", "starting")
        if self._stack.postgres is not None and self._stack.chain is not None:
            self._same_chain()
        migrate.upgrade(self._stack.effective.require("database_url"))
        self._on_progress("schema", "ready")

    def _same_chain(self) -> None:
        from zmart.local.chain_record import keep_to_one_chain  # it imports the database's driver

        postgres, chain = self._stack.postgres, self._stack.chain
        assert postgres is not None
        assert chain is not None
        keep_to_one_chain(postgres.url(), postgres.folder / "chain", chain.genesis_hash())

    def _services(self) -> None:
        for name in SERVICES:
            self._on_progress(name, "starting")
        self._supervisor.start(*(f"{SERVICE_GROUP}:{name}" for name in SERVICES))
        answers: dict[str, ReadinessReport] = {}
        with ThreadPoolExecutor(len(SERVICES)) as threads:
            waits = [partial(self._service, name, answers) for name in SERVICES]
            _all([threads.submit(self._guarded, wait) for wait in waits])

    def _service(self, name: str, answers: dict[str, ReadinessReport]) -> None:
        url = self._stack.ready_urls()[name]

        def is_ready() -> bool:
            answers[name] = fetch_report(url)
            return answers[name].ready

        self._waiter.until(name, is_ready, lambda: answers[name].reason)
        self._on_progress(name, "ready")


@contextmanager
def running_stack(settings: Settings, say: Callable[[str], None]) -> Iterator[None]:
    """Provide the local stack for the block: the running one, or a new one that is stopped after the block.

    Raises the errors of `StackStart.start`, SupervisorHangs if the running stack does not answer in time, and
    ConfigError if it runs only in part, or another process is starting it.
    """
    home = private_folder(settings.zmart_home).resolve()
    process: subprocess.Popen[bytes] | None = None
    with only_one_start(home):
        if not _runs(home):
            say("No stack runs here: starting one for this command ...")
            process = _start_for_command(settings, home, say)
        elif unfinished := why_unfinished(home):
            raise ConfigError(f"{unfinished} `zmart up` starts all of it.")
    try:
        yield
    finally:
        if process is not None:
            stop_stack(home)
            process.wait()


def _start_for_command(settings: Settings, home: Path, say: Callable[[str], None]) -> subprocess.Popen[bytes]:
    stop_stack(home)
    try:
        start = StackStart(LocalStack(settings, say), lambda name, state: None, say)
        return start.start(stop_with_us=True)
    except BaseException:
        stop_stack(home)
        raise


def stop_stack(home: Path) -> int:
    """Stop all processes of the stack in `home`, even if supervisord hangs, and return how many there were."""
    supervisor = supervisor_of(home)
    pid_file = supervisor.folder / "supervisord.pid"
    count = len(process_group.members(home))
    try:
        supervisor.shut_down()
        process_group.wait_until_ended(home, STOP_SECONDS)
    except SupervisorHangs:
        process_group.kill_member(home, pid_file)
        process_group.wait_until_ended(home, HUNG_STOP_SECONDS)
    except SupervisionError:
        pass  # no supervisord runs: only processes of an earlier one may be left
    process_group.end_members(home)
    for path in (supervisor.socket, pid_file):
        path.unlink(missing_ok=True)
    if supervisor.socket.parent != supervisor.folder:
        with suppress(OSError):
            supervisor.socket.parent.rmdir()
    return count


def is_up(home: Path) -> bool:
    """Return whether the supervisord of the stack in `home` answers."""
    return supervisor_of(home).answers()


def _runs(home: Path) -> bool:
    """Return whether a supervisord of the stack in `home` runs. Raises SupervisorHangs if it is slow to answer."""
    try:
        supervisor_of(home).call("supervisor.getState")
    except SupervisorHangs:
        raise
    except SupervisionError:
        return False
    return True


def _all(futures: Sequence[Future[None]]) -> None:
    """Wait for all futures, and raise their first error; other errors take precedence over StartInterrupted."""
    errors = [error for future in futures if (error := future.exception()) is not None]
    for error in sorted(errors, key=lambda error: isinstance(error, StartInterrupted)):
        raise error
