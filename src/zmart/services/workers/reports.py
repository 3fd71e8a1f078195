"""Write and read the reports of workers: each reports its state once a second, so that any can answer for all.

A report is a file in the folder of the workers. When a worker has ended, the parent process removes its report and adds
its counters to those of earlier workers, so that no counter ever falls.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import msgspec

from zmart.services.contract import Readiness
from zmart.services.workers.metric_sums import ended_counters
from zmart.services.workers.slot import WorkerSlot

REPORT_EVERY_S = 1.0
SILENT_AFTER_S = 5.0
_ENDED = "ended"
_SUMMED = ("connections", "database_connections")
"""The fields of /health and /ready that are added up over all workers."""


class WorkerReport(msgspec.Struct, frozen=True, kw_only=True):
    """The state of a worker at the time `at_s` of the machine's monotonic clock.

    `metrics` is in Prometheus' text format.
    """

    number: int
    pid: int
    at_s: float
    readiness: Readiness
    health: Mapping[str, object]
    metrics: str

    @property
    def age_s(self) -> float:
        """Return how many seconds ago the report was made."""
        return time.monotonic() - self.at_s


class WorkerReports:
    """Read and write the reports of one service's workers."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def write(self, report: WorkerReport) -> None:
        """Replace the report of a worker atomically: a reader finds the old one or the new one."""
        _write(self._path(report.number), msgspec.json.encode(report))

    def read(self, number: int) -> WorkerReport | None:
        """Return the last report of a worker; None if it does not run or has not reported yet."""
        with suppress(FileNotFoundError):
            return msgspec.json.decode(self._path(number).read_bytes(), type=WorkerReport)
        return None

    def others(self, slot: WorkerSlot) -> list[WorkerReport]:
        """Return the last reports of the other workers that run."""
        numbers = [number for number in range(1, slot.workers + 1) if number != slot.number]
        return [report for number in numbers if (report := self.read(number)) is not None]

    def forget(self, number: int) -> None:
        """Remove the report of a worker that has ended, and add its counters to those of ended workers."""
        report = self.read(number)
        if report is not None:
            _write(self._folder / _ENDED, ended_counters([self.ended(), report.metrics]).encode())
            self._path(number).unlink()

    def ended(self) -> str:
        """Return the summed counters of all workers that have ended, in Prometheus' text format; "" without any."""
        with suppress(FileNotFoundError):
            return (self._folder / _ENDED).read_text("utf-8")
        return ""

    def _path(self, number: int) -> Path:
        return self._folder / f"report.{number}"


def whole_readiness(own: Readiness, others: list[WorkerReport], slot: WorkerSlot) -> Readiness:
    """Return the readiness of a service from the readiness of its workers.

    Clients reach any running worker, so each of them must be ready and have reported within SILENT_AFTER_S. A worker
    that has ended takes no connections: the reason mentions it, but the service stays ready.
    """
    reason = own.reason if not own.ready else next(filter(None, map(_trouble, others)), "")
    missing = slot.workers - 1 - len(others)
    absent = f"{missing} of {slot.workers} workers do not run." if missing else ""
    details = {**own.details, **_sums(own.details, [report.readiness.details for report in others])}
    return Readiness(
        ready=not reason,
        reason=reason or " ".join(filter(None, [own.reason, absent])),
        details={**details, "workers": 1 + len(others)},
    )


def whole_health(
    own: Mapping[str, object], others: list[WorkerReport], slot: WorkerSlot
) -> dict[str, object]:
    """Return the health of a service: the answering worker's fields, sums over all workers, and a row for each."""
    rows = [{"worker": slot.number, "pid": os.getpid(), **_summed_of(own)}]
    rows += [{"worker": report.number, "pid": report.pid, **_summed_of(report.health)} for report in others]
    sums = _sums(own, [report.health for report in others])
    return {**own, **sums, "workers": sorted(rows, key=lambda row: str(row["worker"]))}


def _trouble(report: WorkerReport) -> str:
    if report.age_s > SILENT_AFTER_S:
        return f"Worker {report.number} (pid {report.pid}) has not answered for {report.age_s:.0f} s."
    if report.readiness.ready:
        return ""
    return f"Worker {report.number} (pid {report.pid}): {report.readiness.reason}"


def _sums(own: Mapping[str, object], others: list[Mapping[str, object]]) -> dict[str, object]:
    return {
        name: sum(number for each in (own, *others) if isinstance(number := each.get(name), int))
        for name in _SUMMED
        if name in own
    }


def _summed_of(figures: Mapping[str, object]) -> dict[str, object]:
    return {name: figures[name] for name in _SUMMED if name in figures}


def _write(path: Path, content: bytes) -> None:
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_bytes(content)
    draft.replace(path)
