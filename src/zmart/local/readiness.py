"""Request /ready of the stack's processes, and wait until they are ready while watching supervisord."""

from __future__ import annotations

import http.client
import json
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit

import msgspec

from zmart.local.processes import StartError, last_line
from zmart.local.supervision import ProcessInfo, SupervisionError, Supervisor, SupervisorHangs

REPORT_SECONDS = 4.0
POLL_SECONDS = 0.05
SUPERVISOR_POLL_SECONDS = 0.25
MAX_FAILED_STARTS = 2
STOPPED = "Stopped while starting."
UNEXPLAINED = "not ready, without a reason"


class ReadinessReport(msgspec.Struct, frozen=True):
    """The result of a /ready request. `reason` says why a process is not ready, or what a ready process lacks."""

    ready: bool
    reason: str = ""


class StartInterrupted(StartError):
    """Report that the start of the stack was interrupted: by the user, or by another part that failed."""


def fetch_report(url: str, seconds: float = REPORT_SECONDS) -> ReadinessReport:
    """Request the URL of a /ready page, and return its report. A process that does not answer is not ready."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=seconds)
    try:
        connection.request("GET", parts.path or "/")
        response = connection.getresponse()
        body = response.read(65_536)
    except (OSError, http.client.HTTPException) as problem:
        return ReadinessReport(ready=False, reason=f"does not answer ({type(problem).__name__})")
    finally:
        connection.close()
    is_ready = response.status == 200
    return ReadinessReport(ready=is_ready, reason=_reason(body) or ("" if is_ready else UNEXPLAINED))


def _reason(body: bytes) -> str:
    try:
        return str(json.loads(body).get("reason") or "")
    except (ValueError, AttributeError):
        return ""


class ReadinessWaiter:
    """Wait for processes under `supervisor`, for `seconds` in all. Setting `stop` ends waits with StartInterrupted."""

    def __init__(self, supervisor: Supervisor, seconds: float) -> None:
        self._supervisor = supervisor
        self._deadline = time.monotonic() + seconds
        self._seen: list[ProcessInfo] = []
        self._spawns: Mapping[str, int] = {}
        self._sizes = {log.name: log.stat().st_size for log in supervisor.logs.glob("*.log") if log.is_file()}
        """The sizes in bytes of the logs before the start, by file name: that part was written by earlier starts."""
        self.stop = threading.Event()
        self.is_alive: Callable[[], bool] = lambda: True
        """A function that returns whether supervisord runs; the caller that starts supervisord sets it."""

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Read the states of supervisord's processes within the block, in a thread beside the waits.

        While supervisord imports libraries it answers no call, and a wait must not block on it.
        """
        ended = threading.Event()
        threading.Thread(target=self._watch, args=(ended,), daemon=True).start()
        try:
            yield
        finally:
            ended.set()

    def _watch(self, ended: threading.Event) -> None:
        while not ended.wait(SUPERVISOR_POLL_SECONDS):
            with suppress(SupervisionError):  # supervisord may still be starting
                seen, spawns = self._supervisor.processes(), self._supervisor.spawns()
                self._seen, self._spawns = seen, spawns

    def until(self, name: str, condition: Callable[[], bool], why: Callable[[], str] = str) -> None:
        """Wait until `condition` returns True.

        Raises StartError if the process `name` has failed to start twice, supervisord has ended or the time is over;
        `why` returns a reason for the message. Raises StartInterrupted if `stop` is set.
        """
        while not condition():
            if self.stop.wait(POLL_SECONDS):
                raise StartInterrupted(STOPPED)
            self._check(name)
            if time.monotonic() > self._deadline:
                raise StartError(
                    f"{name} is not ready: {why() or self.last_output(name)} (see `zmart logs {name}`)."
                )

    def _check(self, name: str) -> None:
        if not self.is_alive():
            text = last_line(self._supervisor.logs / "supervisord.out")
            raise StartError(f"supervisord ended while {name} was starting: {text}")
        info = next((info for info in self._seen if info.name == name), None)
        if info is None:
            return
        has_ended = info.state in ("FATAL", "BACKOFF", "EXITED")
        failed_starts = self._spawns.get(name, 0) - (0 if has_ended else 1)
        if info.state == "FATAL" or failed_starts >= MAX_FAILED_STARTS:
            raise StartError(f"{name} does not start: {self.last_output(name, info.spawnerr)}")

    def last_output(self, name: str, otherwise: str = "") -> str:
        """Return the last line that a process logged since the start, made `readable`; `otherwise` if there is none."""
        log = self._supervisor.logs / f"{name}.log"
        return readable(last_line(log, otherwise, self._sizes.get(log.name, 0)))


def end_of(supervisor: Supervisor, process: subprocess.Popen[bytes], within_s: float) -> str:
    """Return a sentence if supervisord is shutting down, has ended in order or was killed by a signal, else "".

    If supervisord no longer listens, this function waits up to `within_s` seconds until the process has ended.
    """
    try:
        state = supervisor.call("supervisor.getState")
        return STOPPED if isinstance(state, dict) and state.get("statename") == "SHUTDOWN" else ""
    except SupervisorHangs:
        return ""
    except SupervisionError:
        with suppress(subprocess.TimeoutExpired):
            process.wait(within_s)
    status = process.returncode
    if status == 0:
        return STOPPED
    if status is None or status > 0:
        return ""
    name = signal.Signals(-status).name
    return f"supervisord was ended by {name} while the stack was starting: run `zmart up` again."


def readable(line: str) -> str:
    """Return the last line of the exception, error or event in a JSON log line; any other line unchanged."""
    try:
        fields = json.loads(line)
    except ValueError:
        return line
    if not isinstance(fields, dict):
        return line
    text = str(fields.get("exception") or fields.get("error") or fields.get("event") or line)
    return text.strip().splitlines()[-1]
