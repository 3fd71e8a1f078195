"""Asking the stack's processes whether they are ready, and waiting for it with an eye on their supervisor."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from zmart.local.processes import StartError, last_line
from zmart.local.supervision import ProcessInfo, SupervisionError, Supervisor

ASK_SECONDS = 4.0
POLL_SECONDS = 0.05
LOOK_AT_SUPERVISOR_SECONDS = 0.25
FAILED_STARTS_BEFORE_GIVING_UP = 2


class Answer(msgspec.Struct, frozen=True):
    """What a /ready address said; `reason` is for a person."""

    ready: bool
    reason: str = ""


class Interrupted(StartError):
    """Somebody asked to stop while the stack was starting."""


def ask(url: str, seconds: float = ASK_SECONDS) -> Answer:
    """Ask a /ready address. Never raises: not to answer is not to be ready."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=seconds)
    try:
        connection.request("GET", parts.path or "/")
        answer = connection.getresponse()
        body = answer.read(65_536)
    except (OSError, http.client.HTTPException) as problem:
        return Answer(ready=False, reason=f"does not answer ({type(problem).__name__})")
    finally:
        connection.close()
    return Answer(ready=answer.status == 200, reason="" if answer.status == 200 else _reason(body))


def _reason(body: bytes) -> str:
    try:
        return str(json.loads(body).get("reason") or "says it is not ready")
    except (ValueError, AttributeError):
        return "says it is not ready"


class Waiter:
    """Waits for processes under `supervisor`; `stop` ends every wait with Interrupted."""

    def __init__(self, supervisor: Supervisor, seconds: float) -> None:
        self._supervisor = supervisor
        self._deadline = time.monotonic() + seconds
        self._looked_at = 0.0
        self._seen: list[ProcessInfo] = []
        self._spawns: Mapping[str, int] = {}
        self._lock = threading.Lock()
        self.stop = threading.Event()
        self.is_alive: Callable[[], bool] = lambda: True
        """Whether supervisord lives; whoever starts it knows."""

    def until(self, name: str, condition: Callable[[], bool], why: Callable[[], str] = str) -> None:
        """Return when `condition` holds.

        Raises StartError when the process `name` keeps ending or the time is over; `why` adds a reason.
        """
        while not condition():
            if self.stop.wait(POLL_SECONDS):
                raise Interrupted("Stopped while starting.")
            self._check(name)
            if time.monotonic() > self._deadline:
                raise StartError(
                    f"{name} is not ready: {why() or self.last_words(name)} (see `zmart logs {name}`)."
                )

    def _check(self, name: str) -> None:
        if not self.is_alive():
            said = last_line(self._supervisor.logs / "supervisord.out")
            raise StartError(f"supervisord ended while {name} was starting: {said}")
        info = next((info for info in self._processes() if info.name == name), None)
        if info is None:
            return
        has_ended = info.state in ("FATAL", "BACKOFF", "EXITED")
        failed_starts = self._spawns.get(name, 0) - (0 if has_ended else 1)
        if info.state == "FATAL" or failed_starts >= FAILED_STARTS_BEFORE_GIVING_UP:
            raise StartError(f"{name} does not start: {self.last_words(name) or info.spawnerr}")

    def _processes(self) -> list[ProcessInfo]:
        with self._lock:
            if time.monotonic() - self._looked_at > LOOK_AT_SUPERVISOR_SECONDS:
                with suppress(SupervisionError):  # it is starting, too
                    self._seen = self._supervisor.processes()
                    self._spawns = self._supervisor.spawns()
                self._looked_at = time.monotonic()
            return self._seen

    def last_words(self, name: str) -> str:
        """The last line of a process's log, or the message in it if it is structured."""
        return readable(last_line(self._supervisor.logs / f"{name}.log"))


def readable(line: str) -> str:
    """A log line for a sentence."""
    try:
        fields = json.loads(line)
    except ValueError:
        return line
    if not isinstance(fields, dict):
        return line
    said = str(fields.get("exception") or fields.get("event") or line)
    return said.strip().splitlines()[-1]


def log_of(supervisor: Supervisor, name: str) -> Path:
    """The file that holds what a process says."""
    return supervisor.logs / f"{name}.log"
