"""Define the interface between a service and the host that runs it (ops/host.py)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any, Protocol

import msgspec

SERVICES = {
    "indexer": "indexer_port",
    "aggregator": "aggregator_port",
    "monitor": "monitor_port",
    "gateway": "api_port",
    "websocket": "ws_port",
    "snapshots": "snapshots_port",
}
"""The six services, each with the setting that holds its port."""

PROBES = ("/health", "/ready", "/metrics")
"""The paths that monitoring requests regularly, on the port of every service."""

# The ASGI 3 interface as uvicorn calls it; its messages are untyped by that standard.
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
AsgiApp = Callable[[Scope, Receive, Send], Awaitable[None]]
ProbeMiddleware = Callable[[AsgiApp | None], AsgiApp]
"""Adds /health, /ready and /metrics in front of an application; None: the service has no other routes."""


async def nothing_here(scope: Scope, receive: Receive, send: Send) -> None:
    """Do nothing: the ASGI application of a service without routes."""


def no_probes(app: AsgiApp | None) -> AsgiApp:
    """Return the application without probes; for None, an application that does nothing."""
    return app or nothing_here


class Readiness(msgspec.Struct, frozen=True, kw_only=True):
    """Whether a service can do its work now, the reason if not, and details for the operator."""

    ready: bool
    reason: str = ""
    details: Mapping[str, object] = {}


class Service(Protocol):
    """One of the six services. The host cancels `run` if it has not returned 10 seconds after `stop` was set."""

    name: str

    async def run(self, stop: asyncio.Event) -> None:
        """Run the service until `stop` is set and its running work has ended."""
        ...

    async def readiness(self) -> Readiness:
        """Return whether the service can do its work, and the reason if not."""
        ...

    def health(self) -> Mapping[str, object]:
        """Return extra fields of the /health answer, without waiting for anything."""
        ...

    def asgi(self, probes: ProbeMiddleware = no_probes) -> AsgiApp | None:
        """Return the application of the service's port, with the host's probes.

        Return None if the service serves its port itself, as the WebSocket server does, probes included.
        """
        ...
