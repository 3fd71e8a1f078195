"""Run a service as several worker processes on one port. A worker that ends is started again; SIGTERM ends all.

Each worker listens on the port with a socket of its own (SO_REUSEPORT), and the kernel distributes new connections
among them. The parent serves no requests. A worker ends when the parent ends, which closes the worker's standard input.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import structlog

from zmart.errors import ConfigError
from zmart.ops import logs
from zmart.services.contract import SERVICES
from zmart.services.listener import bind_service
from zmart.services.workers.address_counts import clear_row, create_table
from zmart.services.workers.reports import WorkerReports
from zmart.services.workers.slot import WorkerSlot
from zmart.settings import Settings
from zmart.version import VERSION, commit

MULTIPLE = ("gateway", "websocket")
"""The services that can have workers. Processes of the other services divide their work by locks in PostgreSQL."""
STOP_WITHIN_S = 15.0
HUNG_AFTER_S = 30.0
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.2, 3.0
_SETTLED_AFTER_S = 10.0
_POLL_S = 0.1
log = structlog.get_logger()


class WorkerFailed(Exception):  # it only tells `run_workers` why the parent ends
    """Report that the first worker could not start; `status` is its exit status, or the signal that ended it."""

    def __init__(self, status: int) -> None:
        super().__init__(f"The first worker ended with status {status} before it served.")
        self.status = status


def run_workers(service: str, workers: int, settings: Settings) -> int:
    """Run `workers` processes of a service until SIGTERM or SIGINT, and return the exit status of this process.

    It is 0, or the status of the first worker if that could not start. Raises ConfigError for a service that is not in
    MULTIPLE, or a port in use.
    """
    if service not in MULTIPLE:
        raise ConfigError(
            f"--workers is for {' and '.join(MULTIPLE)}: of the {service} start further processes."
        )
    logs.configure(settings, service)
    log.info("service starts", pid=os.getpid(), version=VERSION, commit=commit(), workers=workers)
    with _reserved_port(service, settings) as port, _folder() as folder:
        given = {SERVICES[service].upper(): str(port), **_secret(settings)}
        parent = WorkerParent(service, workers, folder, given)
        try:
            asyncio.run(parent.run())
        except WorkerFailed as failed:
            return failed.status
    return 0


class WorkerParent:
    """Run all workers of a service until SIGTERM or SIGINT. `given` is added to their environment."""

    def __init__(self, service: str, workers: int, folder: Path, given: dict[str, str]) -> None:
        self._service = service
        self._slots = [WorkerSlot(number, workers, folder) for number in range(1, workers + 1)]
        self._reports = WorkerReports(folder)
        self._given = given
        self._stop = asyncio.Event()
        create_table(self._slots[0])

    async def run(self) -> None:
        """Start the workers and keep them running until SIGTERM or SIGINT.

        The first worker starts alone, so that a wrong setting is reported once and not by every worker. Raises
        WorkerFailed if the first worker ends before its first report.
        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        first, *rest = self._slots
        process = await self._start(first)
        while self._reports.read(first.number) is None and not self._stop.is_set():
            if process.returncode is not None:
                raise WorkerFailed(abs(process.returncode))
            await asyncio.sleep(_POLL_S)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._keep(first, process))
            for slot in rest:
                group.create_task(self._keep(slot, await self._start(slot)))
        log.info("service stopped")

    async def _keep(self, slot: WorkerSlot, process: asyncio.subprocess.Process) -> None:
        """Start the worker of a slot again whenever it ends, until a signal arrives; then end the worker.

        The pause before a start grows from 0.4 s to 3 s; it is 0.2 s after a worker that ran for more than 10 s.
        """
        pause_s = _FIRST_PAUSE_S
        while True:
            began = time.monotonic()
            await self._until_ended(slot, process)
            clear_row(slot)
            self._reports.forget(slot.number)
            if self._stop.is_set():
                return
            log.warning("worker ended", worker=slot.number, pid=process.pid, status=process.returncode)
            lasted = time.monotonic() - began > _SETTLED_AFTER_S
            pause_s = _FIRST_PAUSE_S if lasted else min(pause_s * 2, _LONGEST_PAUSE_S)
            await self._pause(pause_s)
            if self._stop.is_set():
                return
            process = await self._start(slot)

    async def _until_ended(self, slot: WorkerSlot, process: asyncio.subprocess.Process) -> None:
        """Wait until a worker has ended. End it when a signal arrives; kill it if its last report is over 30 s old."""
        while process.returncode is None and not self._stop.is_set():
            await self._pause(_POLL_S)
            report = self._reports.read(slot.number)
            if report is not None and report.age_s > HUNG_AFTER_S and process.returncode is None:
                log.error("worker hangs and is killed", worker=slot.number, pid=process.pid)
                process.kill()
        if process.returncode is None:
            process.terminate()
            try:
                async with asyncio.timeout(STOP_WITHIN_S):
                    await process.wait()
            except TimeoutError:
                log.error("worker did not stop in time", worker=slot.number, pid=process.pid)
                process.kill()
        await process.wait()

    async def _start(self, slot: WorkerSlot) -> asyncio.subprocess.Process:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "zmart.cli", "run", self._service),
            stdin=asyncio.subprocess.PIPE,
            env={**os.environ, **self._given, **slot.environment()},
        )
        log.info("worker started", worker=slot.number, pid=process.pid)
        return process

    async def _pause(self, seconds: float) -> None:
        """Wait for `seconds`, or until a signal arrives."""
        try:
            await asyncio.wait_for(self._stop.wait(), seconds)
        except TimeoutError:
            return


@contextmanager
def _reserved_port(service: str, settings: Settings) -> Iterator[int]:
    """Reserve the service's port for the workers with a bound socket that does not listen, and yield the port.

    Raises ConfigError if the port is in use.
    """
    bind_service(settings, SERVICES[service]).close()  # not shared: fails if other workers have the port
    holder = bind_service(settings, SERVICES[service], shared=True)
    with holder:
        port: int = holder.getsockname()[1]
        yield port


@contextmanager
def _folder() -> Iterator[Path]:
    try:
        path = Path(tempfile.mkdtemp(prefix="zmart-workers-"))
    except FileNotFoundError:
        raise ConfigError(
            "--workers needs a folder for temporary files, and none can be written: in a container mount one at /tmp "
            "(compose: tmpfs; Kubernetes: emptyDir), elsewhere set TMPDIR."
        ) from None
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def _secret(settings: Settings) -> dict[str, str]:
    """Return a random AUTH_TOKEN_SECRET for all workers where a single process would generate its own, else nothing."""
    if settings.auth_token_secret.get_secret_value() or not settings.is_local:
        return {}
    return {"AUTH_TOKEN_SECRET": secrets.token_urlsafe(32)}
