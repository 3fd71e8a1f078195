"""Manage WebSocket connections: admission, limits, heartbeats and the requests of clients."""

from __future__ import annotations

import asyncio
import secrets
import time
from typing import assert_never

import structlog

from zmart.services.websocket import frames, metrics, protocol
from zmart.services.websocket.connection import SocketConnection
from zmart.services.websocket.hub import SocketHub
from zmart.services.websocket.limits import SocketLimits
from zmart.services.websocket.protocol import (
    ClientRequest,
    FeedOffset,
    PingRequest,
    PongRequest,
    RefusedRequest,
    SubscribeRequest,
    UnsubscribeRequest,
)
from zmart.services.websocket.subscriptions import Subscriptions
from zmart.services.workers.address_counts import AddressCounts
from zmart.services.workers.slot import worker_slot

_CLOSE_WAIT_S = 3.5

log = structlog.get_logger()


class SocketServer:
    """Manage connections and their requests. It opens no sockets: `admit` gets the transport of each connection."""

    def __init__(
        self, hub: SocketHub, subscriptions: Subscriptions, limits: SocketLimits, heartbeat_s: float
    ) -> None:
        self._hub = hub
        self._subscriptions = subscriptions
        self._limits = limits
        self._heartbeat_s = heartbeat_s
        self._per_address = AddressCounts(worker_slot())
        self._requests: dict[SocketConnection, asyncio.Queue[SubscribeRequest | UnsubscribeRequest]] = {}

    def admit(self, transport: asyncio.Transport, address: str) -> SocketConnection:
        """Register a new client, and send it a welcome, or an error and a close frame if there are too many clients."""
        connection = SocketConnection(transport, f"client_{secrets.token_hex(8)}", address, self._limits)
        self._hub.connections.add(connection)
        self._per_address.add(address)
        metrics.connections.inc()
        self._hub.client_log.note("connected")
        if len(self._hub.connections) > self._limits.connections_per_process:
            self._end(connection, _FULL)
        elif self._per_address[address] > self._limits.connections_per_address:
            self._end(connection, _FULL_FOR_ADDRESS)
        else:
            metrics.connected.inc()
            limits = self._limits.for_client()
            connection.send(
                protocol.welcome(self._position(), connection.client_id, self._heartbeat_s, limits)
            )
        return connection

    def disconnected(self, connection: SocketConnection) -> None:
        """Release a connection whose transport has ended."""
        self._hub.forget(connection)
        metrics.connections.dec()
        self._hub.client_log.note("disconnected")
        metrics.subscriptions.dec(len(connection.subscriptions))
        connection.ended()
        self._requests.pop(connection, None)
        self._per_address.remove(connection.address)

    def count_frame(self, connection: SocketConnection) -> bool:
        """Count a frame of the client; return False if the frame is to be ignored.

        That is so on a closing connection, and when the client exceeds its rate: then the connection is closed.
        """
        connection.last_frame_at = time.monotonic()
        if connection.closing:
            return False
        if connection.allowance.take():
            return True
        self._end(connection, _TOO_FAST)
        return False

    def too_large(self, connection: SocketConnection) -> None:
        """Close a connection that sent a message above the size limit."""
        self._end(connection, _TOO_LARGE)

    def receive(self, connection: SocketConnection, message: bytes) -> None:
        """Process a message of the client.

        Subscribe and unsubscribe requests of a connection are processed one after another, in their order; other
        messages are answered at once.
        """
        self._obey(connection, protocol.parse(message))

    def _obey(self, connection: SocketConnection, request: ClientRequest) -> None:
        match request:
            case PingRequest():
                connection.send(protocol.pong(self._position()))
            case PongRequest():
                pass
            case RefusedRequest():
                metrics.errors.labels(request.code).inc()
                connection.send(protocol.error(self._position(), request))
            case SubscribeRequest() | UnsubscribeRequest():
                self._enqueue(connection, request)
            case _ as never:
                assert_never(never)

    def subscribe_by_url(self, connection: SocketConnection, query: str) -> None:
        """Process the subscriptions that the connection's URL names, as if the client had sent them as messages."""
        if connection.closing:
            return
        connection.as_text = protocol.wants_text(query)
        for request in protocol.parse_query(query):
            self._obey(connection, request)

    async def watch(self) -> None:
        """Ping clients each heartbeat, and close those without a frame for two heartbeats, until cancelled."""
        while True:
            await asyncio.sleep(min(1.0, self._heartbeat_s / 4))
            now = time.monotonic()
            for connection in list(self._hub.connections):
                if now - connection.last_frame_at > 2 * self._heartbeat_s:
                    connection.close(frames.CloseCode.GOING_AWAY, "no answer to our pings")
                elif now - connection.pinged_at >= self._heartbeat_s:
                    connection.ping()

    def dismiss(self, why: str) -> None:
        """Close all connections and ask their clients to reconnect, at times spread over five seconds."""
        for connection in list(self._hub.connections):
            connection.dismiss(why)

    async def empty(self) -> None:
        """Wait until all clients have disconnected, at most 3.5 seconds."""
        deadline = time.monotonic() + _CLOSE_WAIT_S
        while self._hub.connections and time.monotonic() < deadline:  # noqa: ASYNC110  # takes about 10 ms
            await asyncio.sleep(0.02)

    def _enqueue(self, connection: SocketConnection, request: SubscribeRequest | UnsubscribeRequest) -> None:
        queue = self._requests.get(connection)
        if queue is not None:
            if queue.qsize() < self._limits.requests:
                queue.put_nowait(request)
            else:
                self._end(connection, _TOO_FAST)
            return
        queue = self._requests[connection] = asyncio.Queue()
        queue.put_nowait(request)
        task = asyncio.create_task(self._process(connection, queue))
        connection.tasks.add(task)
        task.add_done_callback(connection.tasks.discard)

    async def _process(
        self, connection: SocketConnection, queue: asyncio.Queue[SubscribeRequest | UnsubscribeRequest]
    ) -> None:
        try:
            while not queue.empty():
                request = queue.get_nowait()
                match request:
                    case SubscribeRequest():
                        await self._subscriptions.subscribe(connection, request)
                    case UnsubscribeRequest():
                        await self._subscriptions.unsubscribe(connection, request)
                    case _ as never:
                        assert_never(never)
        except Exception:
            log.exception("request failed", client=connection.client_id)
            connection.close(frames.CloseCode.INTERNAL, "internal error")
        finally:
            self._requests.pop(connection, None)

    def _end(self, connection: SocketConnection, refused: RefusedRequest) -> None:
        metrics.errors.labels(refused.code).inc()
        connection.send(protocol.error(self._position(), refused))
        connection.close(frames.CloseCode.POLICY, refused.error)

    def _position(self) -> FeedOffset:
        return FeedOffset(self._hub.epoch, self._hub.position)


_FULL = RefusedRequest("Too many connections", "too_many_connections")
_FULL_FOR_ADDRESS = RefusedRequest("Too many connections from this address", "too_many_connections")
_TOO_FAST = RefusedRequest("Too many messages per second", "rate_limited")
_TOO_LARGE = RefusedRequest("Message too large", "frame_too_large")
