"""What every service offers to the host that runs it (ops/host.py)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any, Protocol

import msgspec

# The ASGI 3 interface as uvicorn calls it; its messages are untyped by that standard.
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
AsgiApp = Callable[[Scope, Receive, Send], Awaitable[None]]


WIRE = "zmart.wire"
"""ASGI extension: the very bytes of the request, where a ShortWay may learn them."""


class Line(Protocol):
    """A connection with a request that a ShortWay has taken: one of the two must be called once."""

    @property
    def peer(self) -> str: ...

    def answer(self, answer: bytes) -> None: ...

    def refuse(self, request: bytes) -> None: ...


class ShortWay(Protocol):
    """Takes a request that is known by its very bytes, or says False; see ops/short_way.py."""

    def __call__(self, request: bytes, line: Line) -> bool: ...


class Readiness(msgspec.Struct, frozen=True, kw_only=True):
    """Whether a service is caught up, the reason when it is not, and figures for the operator."""

    ready: bool
    reason: str = ""
    details: Mapping[str, object] = {}


class Service(Protocol):
    """One of the six. `run` returns after `stop` is set and what was begun is finished (10 s at most)."""

    name: str

    async def run(self, stop: asyncio.Event) -> None: ...

    async def readiness(self) -> Readiness: ...

    def health(self) -> Mapping[str, object]:
        """Extra fields of the /health answer; must not wait for anything."""
        ...

    def asgi(self) -> AsgiApp | None:
        """The service's own routes; None when it has none besides health, readiness and metrics.

        `own_server` services (the WebSocket server) answer those three by themselves. One that has a method
        `around(app: AsgiApp) -> AsgiApp` says by it what stands before every answer of its port, those three too.
        """
        ...
