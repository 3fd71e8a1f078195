"""Run one service as a process: its HTTP port, its loop, its heartbeat, and an orderly end on SIGTERM."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING

import structlog
import uvicorn
import uvloop

from zmart.errors import Busy, ReadOnly, StoreError, ZmartError
from zmart.feed.tasks import end
from zmart.ops import logs, metrics, traces
from zmart.ops.background import ENDS_WITHIN_S, BackgroundJobs
from zmart.ops.disk import free_bytes, full_disk
from zmart.ops.history import FigureRecorder
from zmart.ops.probes import Probes
from zmart.ops.worker import report_as_worker, stop_with_parent
from zmart.services.client_addresses import ClientAddresses, parse_proxies
from zmart.services.connection_counts import ConnectionCounts
from zmart.services.connection_limits import server_config
from zmart.services.contract import SERVICES, AsgiApp, Readiness, Service
from zmart.services.listener import bind_service
from zmart.services.workers.slot import worker_slot
from zmart.settings import Settings
from zmart.store import service_status
from zmart.store.database_check import require_usable
from zmart.store.pool import Pool
from zmart.store.reported_state import this_instance
from zmart.store.time_limit import answer_within
from zmart.version import VERSION, commit

if TYPE_CHECKING:
    from zmart.ops.dashboard import Dashboard
    from zmart.ops.tracing.export import TraceExport

_USE_REDIS = {"gateway", "websocket", "aggregator"}
_HEARTBEAT_S = 5.0
_REPORT_WITHIN_S = 10.0
"""Seconds for one report. With one that takes longer a process does not count as silent yet: that takes 30 s."""
_GRACE_S = 10.0
START_RETRY_S = 1.0
log = structlog.get_logger()


def run(name: str, settings: Settings) -> None:
    """Run a service until SIGTERM or SIGINT. Raises the exception that ended it before that; a ZmartError is logged."""
    logs.configure(settings, name)
    log.info("service starts", pid=os.getpid(), version=VERSION, commit=commit())
    export: TraceExport | None = None
    try:
        export = traces.start(name)
        uvloop.run(_run(name, settings, export))
    except ZmartError as problem:
        log.critical("service failed", error=str(problem))
        raise
    finally:
        if export is not None:
            export.stop()


async def _run(name: str, settings: Settings, export: TraceExport | None = None) -> None:
    metrics.build_info.labels(VERSION, commit()).set(1)
    service = await create_service(name, settings)
    leave_to_rest()
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    logs.log_loop_errors(loop)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    dashboard = _dashboard(settings) if name == "gateway" else None
    jobs = BackgroundJobs(stop)
    metrics.disk_free_bytes.set_function(partial(free_bytes, settings.zmart_home))
    probes = Probes(service, dashboard, cause=partial(full_disk, settings.zmart_home), background=jobs)
    app = probes if export is None else export.around(probes)
    server = None if probes.app is None else _server(settings, SERVICES[name], app)
    jobs.start("The heartbeat", partial(heartbeat, service.name, probes, settings))
    redis_url = settings.redis_url.get_secret_value()
    if name in _USE_REDIS and redis_url:
        jobs.start("Watching Redis", partial(_redis, redis_url, stop))
    if name == "monitor":
        jobs.start("Watching the services", partial(_silence, settings, stop))
        if settings.alert_webhook_url.get_secret_value():
            jobs.start("Sending alerts", partial(_alerts, settings, stop))
    serving: asyncio.Task[None] | None = None
    if server is not None:
        serving = asyncio.create_task(server.serve(sockets=[bind_service(settings, SERVICES[name])]))
    slot = worker_slot()
    if slot is not None:
        jobs.start("Reporting to the other workers", partial(report_as_worker, slot, service, probes))
        stop_with_parent(stop)
    log.info("service started", pid=os.getpid())
    try:
        await run_until_stopped(service, stop, serving)
    finally:
        if server is not None and serving is not None:
            server.should_exit = True
            await asyncio.wait({serving}, timeout=_GRACE_S)
            serving.cancel()
        await jobs.end()
        await probes.close()
        log.info("service stopped")


async def create_service(name: str, settings: Settings, retry_s: float = START_RETRY_S) -> Service:
    """Create the service `name`, and retry every `retry_s` seconds while PostgreSQL is busy or read-only.

    After the first such error any other StoreError is retried, too: the server answered, so DATABASE_URL is right.
    Raises ConfigError, and a StoreError that comes before the server has answered.
    """
    create: Callable[[Settings], Awaitable[Service]] = import_module(f"zmart.services.{name}").create
    reached = False
    while True:
        try:
            await _require_servers(name, settings)
            return await create(settings)
        except StoreError as problem:
            reached = reached or isinstance(problem, (Busy, ReadOnly))
            if not reached:
                raise
            log.warning("service waits to start", reason=str(problem))
            await asyncio.sleep(retry_s)


async def _require_servers(name: str, settings: Settings) -> None:
    """Raise ConfigError or StoreError unless the service can work in its database and Redis accepts REDIS_URL."""
    await require_usable(settings.require("database_url"))
    if name in _USE_REDIS and (url := settings.redis_url.get_secret_value()):
        from zmart.feed.redis_client import require_accepted

        await require_accepted(url)


# Each function below imports a module that only one or some of the services need: the other processes start sooner.


def _dashboard(settings: Settings) -> Dashboard:
    """Return the operator's dashboard, which the gateway serves on its port."""
    from zmart.ops.dashboard import Dashboard

    return Dashboard(settings)


async def _alerts(settings: Settings, stop: asyncio.Event) -> None:
    from zmart.ops.alerts import send_alerts

    await send_alerts(settings, stop)


async def _redis(redis_url: str, stop: asyncio.Event) -> None:
    from zmart.ops.redis_watch import watch_redis

    await watch_redis(redis_url, stop)


async def _silence(settings: Settings, stop: asyncio.Event) -> None:
    from zmart.ops.silence import watch_silence

    await watch_silence(settings, stop)


def leave_to_rest() -> None:
    """Exclude all present objects from garbage collection: a full collection then takes 1 ms instead of 30 ms.

    Also set the collector's thresholds, so that a full collection follows when 1,000,000 more containers were created
    than freed. Old objects in reference cycles are freed only by a full collection: they take some 100 MB at most.
    """
    gc.collect()
    gc.freeze()
    gc.enable()
    gc.set_threshold(10_000, 20, 5)


async def run_until_stopped(
    service: Service, stop: asyncio.Event, serving: asyncio.Task[None] | None = None
) -> None:
    """Run the service until `stop` is set; then it has 10 s to finish its work before it is cancelled.

    `serving` is the task of the HTTP server. If that ends before `stop` is set, the service is ended, too, since no
    client could reach it. Raises the exception that ended the service or the server, RuntimeError if there was none.
    """
    running = asyncio.create_task(service.run(stop))
    stopping = asyncio.create_task(stop.wait())
    ends = {running, stopping} if serving is None else {running, stopping, serving}
    await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if serving is not None and serving.done() and not stop.is_set():
        running.cancel()
        await asyncio.wait({running}, timeout=_GRACE_S)
        serving.result()
        raise RuntimeError(f"the server of the {service.name} ended without a request to stop")
    if not running.done():
        _, late = await asyncio.wait({running}, timeout=_GRACE_S)
        if late:
            log.warning("service did not stop in time", grace_s=_GRACE_S)
            await end(late, retry_s=ENDS_WITHIN_S)
            return
    running.result()
    if not stop.is_set():
        raise RuntimeError(f"the {service.name} ended without a request to stop")


def _server(settings: Settings, port_setting: str, app: AsgiApp) -> uvicorn.Server:
    config = server_config(
        app,
        connections=ConnectionCounts(ClientAddresses(parse_proxies(settings.trusted_proxies))),
        host=settings.bind_host,
        port=getattr(settings, port_setting),
        timeout_graceful_shutdown=int(_GRACE_S) - 2,
    )
    server = uvicorn.Server(config)
    # `_run` handles SIGTERM and SIGINT and ends the server; uvicorn must not install its own handlers.
    server.install_signal_handlers = lambda: None  # type: ignore[attr-defined,method-assign,unused-ignore]
    return server


async def heartbeat(
    name: str,
    probes: Probes,
    settings: Settings,
    every_s: float = _HEARTBEAT_S,
    within_s: float = _REPORT_WITHIN_S,
) -> None:
    """Write this process's readiness and figures to PostgreSQL every `every_s` seconds.

    A StoreError, or a report that takes longer than `within_s`, only means that one report is missing; any other
    exception is raised. When the heartbeat is cancelled, the process's row is deleted.
    """
    instance = this_instance()
    recorder = FigureRecorder(name, instance)
    release = {"version": VERSION, "commit": commit()}
    pool: Pool | None = None
    reported: bool | None = None
    is_missing = False
    try:
        while True:
            readiness = await probes.readiness()
            reported = _log_readiness(readiness, reported)
            try:
                async with answer_within(within_s):
                    pool = pool or await Pool.open(settings.require("database_url"), size=1)
                    now_s = await service_status.report(
                        pool,
                        name,
                        instance,
                        readiness.ready,
                        readiness.reason,
                        {**release, **readiness.details},
                    )
                    await recorder.record(pool, now_s)
                is_missing = False
            except StoreError as problem:
                # The next beat tries again; /ready of the service reports the outage.
                if not is_missing:
                    log.warning("the heartbeat is not stored", error=str(problem))
                is_missing = True
            await asyncio.sleep(every_s)
    finally:
        if pool is not None:
            with suppress(Exception):
                await service_status.forget(pool, name, instance)
            await pool.close()


def _log_readiness(readiness: Readiness, before: bool | None) -> bool:
    """Log a change of readiness, and return whether the service is ready now. `before` is None at the first call."""
    if readiness.ready and before is not True:
        log.info("service ready")
    elif not readiness.ready and before is not False:
        log.warning("service not ready", reason=readiness.reason)
    return readiness.ready
