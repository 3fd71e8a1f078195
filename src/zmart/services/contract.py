"""The interface that every service has for the host that runs it (ops/host.py)."""

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
"""The six, with the setting that names their port."""

PROBES = ("/health", "/ready", "/metrics")
"""The paths that machines ask again and again, on the port of every service."""

# The ASGI 3 interface as uvicorn calls it; its messages are untyped by that standard.
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
AsgiApp = Callable[[Scope, Receive, Send], Awaitable[None]]
ProbeMiddleware = Callable[[AsgiApp | None], AsgiApp]
"""Puts /health, /ready and /metrics before an application; None: there are no other routes."""


async def nothing_here(scope: Scope, receive: Receive, send: Send) -> None:
    """The application of a service without routes."""


def no_probes(app: AsgiApp | None) -> AsgiApp:
    """The application alone."""
    return app or nothing_here


class Readiness(msgspec.Struct, frozen=True, kw_only=True):
    """Whether a service is caught up, the reason when it is not, and figures for the operator."""

    ready: bool
    reason: str = ""
    details: Mapping[str, object] = {}


class Service(Protocol):
    """One of the six. `run` returns after `stop` is set and what was begun is finished (10 s at most)."""

    name: str

    async def run(self, stop: asyncio.Event) -> None:
        """Run until `stop` is set."""
        ...

    async def readiness(self) -> Readiness:
        """Return whether the service can do its work, and why not."""
        ...

    def health(self) -> Mapping[str, object]:
        """Extra fields of the /health answer; must not wait for anything."""
        ...

    def asgi(self, probes: ProbeMiddleware = no_probes) -> AsgiApp | None:
        """The application of the service's port, the host's probes in it; None when the service serves its port
        itself (the WebSocket server, which answers the probes too)."""
        ...
