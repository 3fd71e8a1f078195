"""Who is connected, what they may, and what becomes of the messages that they send."""

from __future__ import annotations

import asyncio
import random
import secrets
import time
from collections import Counter
from typing import assert_never

import structlog

from zmart.services.websocket import frames, metrics, protocol
from zmart.services.websocket.connection import Connection
from zmart.services.websocket.hub import Hub
from zmart.services.websocket.limits import Limits
from zmart.services.websocket.protocol import (
    ErrorCode,
    Ping,
    Place,
    Pong,
    Refused,
    Subscribe,
    Unsubscribe,
)
from zmart.services.websocket.subscriptions import Subscriptions

_COME_BACK_MS = (100, 5_000)
_GOODBYE_S = 3.5

log = structlog.get_logger()


class Server:
    """Connections and their requests; knows nothing of sockets but the transport that it is given."""

    def __init__(self, hub: Hub, subscriptions: Subscriptions, limits: Limits, heartbeat_s: float) -> None:
        self._hub = hub
        self._subscriptions = subscriptions
        self._limits = limits
        self._heartbeat_s = heartbeat_s
        self._per_address: Counter[str] = Counter()
        self._requests: dict[Connection, asyncio.Queue[Subscribe | Unsubscribe]] = {}

    def admit(self, transport: asyncio.Transport, address: str) -> Connection:
        """A new client: welcomed, or told that there are too many."""
        connection = Connection(transport, f"client_{secrets.token_hex(8)}", address, self._limits)
        self._hub.connections.add(connection)
        self._per_address[address] += 1
        metrics.connections.inc()
        if len(self._hub.connections) > self._limits.connections_per_process:
            self._end(connection, _FULL)
        elif self._per_address[address] > self._limits.connections_per_address:
            self._end(connection, _FULL_FOR_ADDRESS)
        else:
            limits = self._limits.told()
            connection.send(protocol.welcome(self._place(), connection.client_id, self._heartbeat_s, limits))
        return connection

    def gone(self, connection: Connection) -> None:
        """The transport has ended, for whatever reason."""
        self._hub.forget(connection)
        metrics.connections.dec()
        metrics.subscriptions.dec(len(connection.subscriptions))
        connection.ended()
        self._requests.pop(connection, None)
        self._per_address[connection.address] -= 1
        if not self._per_address[connection.address]:
            del self._per_address[connection.address]

    def heard(self, connection: Connection) -> bool:
        """Count a frame of the client; False when it sends more than it may."""
        connection.heard_at = time.monotonic()
        if connection.closing:
            return False
        if connection.allowance.take():
            return True
        self._end(connection, _TOO_FAST)
        return False

    def too_large(self, connection: Connection) -> None:
        self._end(connection, _TOO_LARGE)

    def receive(self, connection: Connection, message: bytes) -> None:
        """Obey a message of the client, in the order of its messages."""
        request = protocol.parse(message)
        match request:
            case Ping():
                connection.send(protocol.pong(self._place()))
            case Pong():
                pass
            case Refused():
                metrics.errors.labels(request.code.value).inc()
                connection.send(protocol.error(self._place(), request))
            case Subscribe() | Unsubscribe():
                self._enqueue(connection, request)
            case _ as never:
                assert_never(never)

    async def watch(self) -> None:
        """Ping everybody regularly and end who is no longer there. Run as a task."""
        while True:
            await asyncio.sleep(min(1.0, self._heartbeat_s / 4))
            now = time.monotonic()
            for connection in list(self._hub.connections):
                if now - connection.heard_at > 2 * self._heartbeat_s:
                    connection.close(frames.CloseCode.GOING_AWAY, "no answer to our pings")
                elif now - connection.pinged_at >= self._heartbeat_s:
                    connection.ping()

    def dismiss(self, why: str) -> None:
        """Close everybody so that they come back, spread over some seconds."""
        for connection in list(self._hub.connections):
            retry_ms = random.randint(*_COME_BACK_MS)  # noqa: S311  # spreads load, guards nothing
            connection.close(frames.CloseCode.RESTART, f"{why}; retry_ms={retry_ms}")

    async def empty(self) -> None:
        """Waits until the dismissed are gone, a few seconds at most."""
        deadline = time.monotonic() + _GOODBYE_S
        while self._hub.connections and time.monotonic() < deadline:  # noqa: ASYNC110  # a matter of some 10 ms
            await asyncio.sleep(0.02)

    def _enqueue(self, connection: Connection, request: Subscribe | Unsubscribe) -> None:
        queue = self._requests.get(connection)
        if queue is not None:
            queue.put_nowait(request)
            return
        queue = self._requests[connection] = asyncio.Queue()
        queue.put_nowait(request)
        task = asyncio.create_task(self._work_off(connection, queue))
        connection.tasks.add(task)
        task.add_done_callback(connection.tasks.discard)

    async def _work_off(self, connection: Connection, queue: asyncio.Queue[Subscribe | Unsubscribe]) -> None:
        try:
            while not queue.empty():
                request = queue.get_nowait()
                match request:
                    case Subscribe():
                        await self._subscriptions.subscribe(connection, request)
                    case Unsubscribe():
                        await self._subscriptions.unsubscribe(connection, request)
                    case _ as never:
                        assert_never(never)
        except Exception:
            log.exception("request failed", client=connection.client_id)
            connection.close(frames.CloseCode.INTERNAL, "internal error")
        finally:
            self._requests.pop(connection, None)

    def _end(self, connection: Connection, refused: Refused) -> None:
        metrics.errors.labels(refused.code.value).inc()
        connection.send(protocol.error(self._place(), refused))
        connection.close(frames.CloseCode.POLICY, refused.error)

    def _place(self) -> Place:
        return Place(self._hub.epoch, self._hub.position)


_FULL = Refused("Too many connections", ErrorCode.TOO_MANY_CONNECTIONS)
_FULL_FOR_ADDRESS = Refused("Too many connections from this address", ErrorCode.TOO_MANY_CONNECTIONS)
_TOO_FAST = Refused("Too many messages per second", ErrorCode.RATE_LIMITED)
_TOO_LARGE = Refused("Message too large", ErrorCode.FRAME_TOO_LARGE)
