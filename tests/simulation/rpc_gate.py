"""The simulation's network: every JSON-RPC request of every process is answered here, below httpx.

Hosts that end in `.node` are simulated nodes. A request is answered truly, or gets the fault that the run's options
draw: a cut connection, an HTTP status, a body that is no answer, or a late answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import httpx
import msgspec
from processes import SimulatedProcess, current_process
from simulated_node import NodeError, SimulatedNode
from virtual_time import VirtualClock

ANSWERS = {
    "402": (402, b'{"message":"Payment required"}'),
    "429": (429, b'{"jsonrpc":"2.0","error":{"code":429,"message":"rate limited"},"id":1}'),
    "530": (530, b'{"error_code":1033,"message":"The host is unreachable"}'),
    "503": (503, b"upstream connect error"),
    "html": (200, b"<html><body>Service temporarily unavailable</body></html>"),
    "empty object": (200, b"{}"),
    "no result": (200, b'{"jsonrpc":"2.0","id":%d}'),
    "another id": (200, b'{"jsonrpc":"2.0","id":999999999,"result":null}'),
    "internal error": (200, b'{"jsonrpc":"2.0","id":%d,"error":{"code":-32603,"message":"Internal error"}}'),
    "null": (200, b'{"jsonrpc":"2.0","id":%d,"result":null}'),
}
"""Statuses and bodies that are no answer, by the names that the options use; %d is the request's id."""
CUT = "connection cut"
LATE = "late"


class _Request(msgspec.Struct):
    id: int
    method: str
    params: list = []


_request = msgspec.json.Decoder(_Request)
Fault = Callable[[str, str, str], str | None]
"""A function of (process, node, method) that returns a key of ANSWERS, CUT or LATE, or None for a true answer."""


class RpcGate:
    """Answers requests from the simulated nodes.

    `fault`, `latency_s` and `spread_slots` are called for each request. A URL stands for many nodes: `spread_slots`
    says by how many slots the answering one is ahead of the slowest.
    """

    def __init__(self, clock: VirtualClock, nodes: dict[str, SimulatedNode]) -> None:
        self.clock = clock
        self.nodes = nodes
        self.calls = 0
        self.fault: Fault = lambda process, node, method: None
        self.latency_s: Callable[[], float] = lambda: 0.01
        self.spread_slots: Callable[[SimulatedNode], int] = lambda node: 0

    async def handle(self, request: httpx.Request) -> httpx.Response:
        node = self.nodes[request.url.host.removesuffix(".node")]
        process = current_process.get()
        self.calls += 1
        requested = _request.decode(request.content)
        if process is not None:
            await process.before(requested.method)
        await asyncio.sleep(self.latency_s())
        response = await self._respond(process, node, requested, request)
        if process is not None:
            process.after()
        return response

    async def _respond(
        self, process: SimulatedProcess | None, node: SimulatedNode, asked: _Request, request: httpx.Request
    ) -> httpx.Response:
        name = process.name if process else "user"
        if process is not None and process.rpc_away_until > self.clock.seconds:
            raise httpx.ConnectError("cut off from the RPC", request=request)
        fault = self.fault(name, node.name, asked.method)
        if fault == CUT:
            raise httpx.ReadError("connection reset", request=request)
        if fault == LATE:
            return await asyncio.shield(self._answer_later(process, node, asked, request))
        if fault is not None:
            status, body = ANSWERS[fault]
            return httpx.Response(status, content=body.replace(b"%d", b"%d" % asked.id), request=request)
        return self._answer(process, node, asked, request)

    def _answer_later(
        self, process: SimulatedProcess | None, node: SimulatedNode, asked: _Request, request: httpx.Request
    ) -> asyncio.Task[httpx.Response]:
        """Answer in 4 s by a task that goes on if the process gives up: the node takes a transaction nevertheless."""

        async def answer() -> httpx.Response:
            await asyncio.sleep(4.0)
            return self._answer(process, node, asked, request)

        return asyncio.create_task(answer())

    def _answer(
        self, process: SimulatedProcess | None, node: SimulatedNode, asked: _Request, request: httpx.Request
    ) -> httpx.Response:
        try:
            body = b'{"jsonrpc":"2.0","id":%d,"result":%s}' % (
                asked.id,
                node.answer(asked.method, asked.params, self._lag_of(process) - self.spread_slots(node)),
            )
        except NodeError as error:
            reported = {
                "jsonrpc": "2.0",
                "id": asked.id,
                "error": {"code": error.code, "message": str(error)},
            }
            body = msgspec.json.encode(reported)
        headers = {"content-type": "application/json"}
        return httpx.Response(200, content=body, headers=headers, request=request)

    def _lag_of(self, process: SimulatedProcess | None) -> int:
        """Return by how many more slots the nodes lag that this process reaches."""
        if process is None or process.rpc_lags_until <= self.clock.seconds:
            return 0
        return process.rpc_lag_slots


@contextmanager
def gated_rpc(gate: RpcGate) -> Iterator[None]:
    """Have httpx send all requests to the gate within the block, instead of the network."""
    kind = httpx.AsyncHTTPTransport
    names = ("__init__", "handle_async_request", "aclose", "__aenter__", "__aexit__")
    real = {name: getattr(kind, name) for name in names}

    async def handle(_self: object, request: httpx.Request) -> httpx.Response:
        return await gate.handle(request)

    async def nothing(_self: object) -> None:
        pass

    kind.__init__ = lambda self, *_, **__: None
    kind.handle_async_request, kind.aclose = handle, nothing
    kind.__aenter__, kind.__aexit__ = _enter, _exit
    try:
        yield
    finally:
        for name, method in real.items():
            setattr(kind, name, method)


async def _enter(self: httpx.AsyncHTTPTransport) -> httpx.AsyncHTTPTransport:
    return self


async def _exit(self: httpx.AsyncHTTPTransport, *_: object) -> None:
    pass
