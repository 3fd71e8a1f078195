"""The duties of a process that is one of several workers of a service: report its state, and end with its parent."""

from __future__ import annotations

import asyncio
import os
import sys
import time

from prometheus_client import generate_latest

from zmart.ops.probes import Probes
from zmart.services.contract import Service
from zmart.services.workers.reports import REPORT_EVERY_S, WorkerReport, WorkerReports
from zmart.services.workers.slot import WorkerSlot


async def report_as_worker(slot: WorkerSlot, service: Service, probes: Probes) -> None:
    """Write this worker's state to its report file once a second; the other workers and the parent read it.

    The report holds the worker's readiness, health and metrics.
    """
    reports = WorkerReports(slot.folder)
    while True:
        report = WorkerReport(
            number=slot.number,
            pid=os.getpid(),
            at_s=time.monotonic(),
            readiness=await probes.readiness(),
            health=service.health(),
            metrics=generate_latest().decode(),
        )
        reports.write(report)
        await asyncio.sleep(REPORT_EVERY_S)


def stop_with_parent(stop: asyncio.Event) -> None:
    """Set `stop` when the parent process ends. Standard input is a pipe from the parent, so it ends with the parent."""
    loop, descriptor = asyncio.get_running_loop(), sys.stdin.fileno()

    def read() -> None:
        if not os.read(descriptor, 1024):
            loop.remove_reader(descriptor)
            stop.set()

    loop.add_reader(descriptor, read)
