"""Answer /health, /ready and /metrics on the port of every service, and /dashboard on the gateway's."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import msgspec
from prometheus_client import CONTENT_TYPE_LATEST

from zmart.errors import ZmartError
from zmart.ops import metrics
from zmart.ops.background import BackgroundJobs
from zmart.services.contract import PROBES, AsgiApp, Readiness, Receive, Scope, Send, Service
from zmart.services.plain_http import path_of, send_problem, send_response
from zmart.services.workers.whole import health_of_all, metrics_of_all, readiness_of_all
from zmart.version import VERSION, commit

if TYPE_CHECKING:
    from zmart.ops.dashboard import Dashboard  # slow to import: a template engine and a database driver

READINESS_WAIT_S = 3.0
_DASHBOARD_PATHS = {"/dashboard": ("GET", "HEAD"), "/dashboard/act": ("GET", "HEAD", "POST")}


class Probes:
    """Answer /health, /ready, /metrics and, if given, /dashboard; pass other requests to the service."""

    def __init__(
        self,
        service: Service,
        dashboard: Dashboard | None = None,
        readiness_wait_s: float = READINESS_WAIT_S,
        cause: Callable[[], str] = str,
        background: BackgroundJobs | None = None,
    ) -> None:
        """Limit the service's readiness check to `readiness_wait_s` seconds.

        `cause` returns a sentence about trouble of the machine that explains other errors, such as a full disk, or "".
        The service is not ready while a job of `background` fails.
        """
        self._cause = cause
        self._background = background
        self._service = service
        self._readiness_wait_s = readiness_wait_s
        self._dashboard = dashboard
        self.app = service.asgi(self._before)
        """The application of the service's port with the probes in it; None if the service serves its port itself."""
        self._started = time.time()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or the events of ASGI's lifespan."""
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
            return
        if self.app is not None:
            await self.app(scope, receive, send)

    def _before(self, app: AsgiApp | None) -> AsgiApp:
        inner = app or _no_routes

        async def probed(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] != "http" or not await self._answer(scope, receive, send):
                await inner(scope, receive, send)

        return probed

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> bool:
        """Answer a request for a probe or the dashboard; return False, without an answer, for any other request."""
        path = path_of(scope)
        if self._dashboard is not None and scope["method"] in _DASHBOARD_PATHS.get(path, ()):
            scope["path_template"] = path
            await self._dashboard.answer(scope, receive, send)
            return True
        if path not in PROBES or scope["method"] not in ("GET", "HEAD"):
            return False
        scope["path_template"] = path
        match path:
            case "/health":
                await send_response(send, 200, msgspec.json.encode(health_of_all(self.health())))
            case "/ready":
                readiness = readiness_of_all(await self.readiness())
                await send_response(send, 200 if readiness.ready else 503, msgspec.json.encode(readiness))
            case _:
                await send_response(send, 200, metrics_of_all(), CONTENT_TYPE_LATEST)
        return True

    async def close(self) -> None:
        """Close the dashboard's database connections."""
        if self._dashboard is not None:
            await self._dashboard.close()

    def health(self) -> Mapping[str, object]:
        """Return the body of /health: name, uptime in seconds, version and commit, and the service's own fields."""
        uptime_s = round(time.time() - self._started, 1)
        return {
            "status": "ok",
            "service": self._service.name,
            "uptime_s": uptime_s,
            "version": VERSION,
            "commit": commit(),
            **self._service.health(),
        }

    async def readiness(self) -> Readiness:
        """Return whether the service is ready. The reason begins with the machine's trouble, if there is any.

        A service whose readiness check raises, or takes longer than `readiness_wait_s`, is not ready. Sets the metric.
        """
        readiness = await self._service_readiness()
        if readiness.ready and self._background is not None and (reason := self._background.reason):
            readiness = msgspec.structs.replace(readiness, ready=False, reason=reason)
        metrics.ready.set(readiness.ready)
        if readiness.ready or not (cause := self._cause()):
            return readiness
        return msgspec.structs.replace(readiness, reason=f"{cause} {readiness.reason}")

    async def _service_readiness(self) -> Readiness:
        try:
            async with asyncio.timeout(self._readiness_wait_s):
                return await self._service.readiness()
        except TimeoutError:
            metrics.readiness_timeouts.inc()
            return Readiness(
                ready=False, reason=f"the service did not answer within {self._readiness_wait_s:.0f} s"
            )
        except ZmartError as problem:
            return Readiness(ready=False, reason=str(problem))
        except Exception as problem:  # whatever it is, the operator must see it as the reason
            return Readiness(ready=False, reason=f"{type(problem).__name__}: {problem}")


async def _no_routes(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] != "http":
        return
    if path_of(scope) in PROBES:
        allow = ((b"allow", b"GET, HEAD"),)
        await send_problem(send, scope, 405, f"{path_of(scope)} is read with GET.", headers=allow)
        return
    message = f"There is no {scope['path'][:200]} here: this service answers /health, /ready and /metrics."
    await send_problem(send, scope, 404, message)


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        if message["type"] == "lifespan.startup":
            await send({"type": "lifespan.startup.complete"})
        elif message["type"] == "lifespan.shutdown":
            await send({"type": "lifespan.shutdown.complete"})
            return
