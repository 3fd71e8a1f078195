"""Answer probes for all workers of a service, in whichever worker; a single process answers for itself."""

from __future__ import annotations

from collections.abc import Mapping

from prometheus_client import generate_latest

from zmart.services.contract import Readiness
from zmart.services.workers.metric_sums import summed
from zmart.services.workers.reports import WorkerReports, whole_health, whole_readiness
from zmart.services.workers.slot import worker_slot


def readiness_of_all(own: Readiness) -> Readiness:
    """Return the readiness of the whole service; `own` is this process's readiness."""
    slot = worker_slot()
    return own if slot is None else whole_readiness(own, WorkerReports(slot.folder).others(slot), slot)


def health_of_all(own: Mapping[str, object]) -> Mapping[str, object]:
    """Return the health of the whole service; `own` is this process's health."""
    slot = worker_slot()
    return own if slot is None else whole_health(own, WorkerReports(slot.folder).others(slot), slot)


def metrics_of_all() -> bytes:
    """Return the metrics of the whole service in Prometheus' text format, with the counters of workers that ended."""
    slot, own = worker_slot(), generate_latest()
    if slot is None:
        return own
    reports = WorkerReports(slot.folder)
    return summed([own.decode(), *(report.metrics for report in reports.others(slot)), reports.ended()])
