"""Assemble the WebSocket service: the feed's reader, the sockets, and probes on the same port."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Mapping

import msgspec
import structlog
from prometheus_client import CONTENT_TYPE_LATEST

from zmart import traces
from zmart.errors import StoreError
from zmart.feed import asyncapi, redis_client
from zmart.feed.redis_client import RedisClient
from zmart.feed.relay import FeedRelay
from zmart.feed.tail import FeedBroken, FeedReader
from zmart.feed.tasks import end
from zmart.feed.traced import trace_sent
from zmart.services.client_addresses import ClientAddresses, parse_proxies
from zmart.services.contract import ProbeMiddleware, Readiness, no_probes
from zmart.services.listener import bind_service
from zmart.services.websocket import metrics, socket
from zmart.services.websocket.hub import RECENT, SocketHub
from zmart.services.websocket.limits import SocketLimits
from zmart.services.websocket.server import SocketServer
from zmart.services.websocket.state import ChannelStates
from zmart.services.websocket.subscriptions import Subscriptions
from zmart.services.workers.whole import health_of_all, metrics_of_all, readiness_of_all
from zmart.setting_values import host_in_url
from zmart.settings import Settings
from zmart.store.pool import Pool
from zmart.store.time_limit import answer_within
from zmart.version import VERSION, commit

_STALE_S = 10.0
_RETRY_S = 0.5
_REDIS_WITHIN_S = 3.0  # a read itself waits up to a second for messages
START_WITHIN_S = 5.0
_FILL_WITHIN_S = 5.0

log = structlog.get_logger()


class WebSocketService:
    """The WebSocket service, as services/contract.py defines a service: `open(settings)`, then `run(stop)`."""

    name = "websocket"

    def __init__(self, settings: Settings, pool: Pool, redis: RedisClient) -> None:
        self._settings = settings
        self._pool = pool
        self._redis = redis
        self._limits = SocketLimits(
            connections_per_process=settings.ws_max_connections,
            connections_per_address=settings.ws_max_per_ip,
        )
        self._clients = ClientAddresses(parse_proxies(settings.trusted_proxies))
        self._hub = SocketHub()
        self._reader = FeedReader(pool, redis)
        database_url = settings.require("database_url")
        metrics.feed_age.set_function(self._feed_age_s)
        self._relay = FeedRelay(database_url, redis, settings.feed_keep_hours, self._reader.wake)
        subscriptions = Subscriptions(self._hub, ChannelStates(pool), pool, self._limits)
        self._server = SocketServer(self._hub, subscriptions, self._limits, settings.ws_heartbeat_s)
        self._started_at = time.time()
        self.port = settings.ws_port

    @classmethod
    async def open(cls, settings: Settings) -> WebSocketService:
        """Connect to PostgreSQL and Redis, and read the feed's newest changes. Raises ConfigError or StoreError."""
        redis = redis_client.connect(settings.require("redis_url"), answer_s=_REDIS_WITHIN_S)
        pool = await Pool.open(settings.require("database_url"), settings.database_pool_size, wait_s=10)
        service = cls(settings, pool, redis)
        await service._start_near_the_end()
        return service

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until `stop` is set or a task fails, then close all connections and ask the clients to reconnect.

        Raises the exception of a failed task.
        """
        listener = await self._listen()
        tasks = [
            asyncio.create_task(work)
            for work in (
                self._relay.run(),
                self._pump(),
                self._server.watch(),
                self._hub.client_log.run(),
                _until(stop),
            )
        ]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            listener.close()
            self._server.dismiss("restart")
            await self._server.empty()
            for task in done:
                task.result()
        finally:
            await end(tasks)
            await self._reader.close()
            await self._redis.aclose()
            await self._pool.close()

    async def readiness(self) -> Readiness:
        """Return whether new messages of the feed reach this server."""
        return self._readiness()

    def health(self) -> Mapping[str, object]:
        """Return the number of open connections of this process."""
        return {"connections": len(self._hub.connections)}

    def asgi(self, probes: ProbeMiddleware = no_probes) -> None:
        """Return None: the service runs its own server."""
        return

    async def _listen(self) -> asyncio.Server:
        pages = {
            "/health": self._health_page,
            "/ready": self._ready_page,
            "/metrics": _metrics_page,
            asyncapi.PATH: self._description_page,
        }
        bound = bind_service(self._settings, "ws_port")
        listener = await socket.listen(self._server, pages, self._clients, self._limits.frame_bytes, bound)
        self.port = listener.sockets[0].getsockname()[1]
        return listener

    async def _pump(self) -> None:
        """Publish the messages of the feed until cancelled."""
        while True:
            await self._publish_next()

    async def _publish_next(self) -> None:
        try:
            messages = await self._reader.next()
        except FeedBroken as problem:
            log.warning("clients must resume", reason=str(problem))
            await self._start_near_the_end()
        else:
            if messages:
                began_ns = time.time_ns()
                self._hub.publish(messages)
                if traces.is_on():
                    trace_sent(messages, began_ns, self._hub.subscribers_of)
                await asyncio.sleep(0)  # lets requests run between two full batches

    async def _start_near_the_end(self) -> None:
        """Start up to RECENT changes before the end of the feed, and hold those in memory.

        After a restart all clients resume at once; these changes serve them without the database. Raises StoreError
        only if the feed has never been read before.
        """
        while True:
            try:
                # A connection that was lost in a fail-over may hang.
                async with answer_within(START_WITHIN_S):
                    head = await self._reader.start(RECENT)
                self._hub.begin(self._reader.epoch, self._reader.position)
                # Only now: a client that reconnected earlier would resume in the epoch that has just ended.
                self._server.dismiss("feed restarted")
                async with asyncio.timeout(_FILL_WITHIN_S):
                    await self._fill_recent(head)
                return
            except TimeoutError:
                return  # `_pump` reads the rest
            except StoreError:
                if not self._hub.epoch:
                    raise
            except FeedBroken as problem:
                log.warning("the feed changed while it was read", reason=str(problem))
            await asyncio.sleep(_RETRY_S)

    async def _fill_recent(self, head: int) -> None:
        while self._hub.position < head:
            if messages := await self._reader.next():
                self._hub.publish(messages)

    def _readiness(self) -> Readiness:
        lag_s = self._feed_age_s()
        reason = ""
        if self._reader.trouble:
            reason = f"{self._reader.trouble} Connections stay open without new messages."
        elif lag_s > _STALE_S:
            reason = f"The change feed could not be read for {lag_s:.0f} s."
        details = {
            "epoch": self._hub.epoch,
            "offset": self._hub.position,
            "source": self._reader.source,
            "relay": self._relay.leading,
            "connections": len(self._hub.connections),
        }
        # The relay may wait for Redis or a writable database; messages reach clients all the same.
        return Readiness(ready=not reason, reason=reason or self._relay.outages.reason, details=details)

    def _feed_age_s(self) -> float:
        return time.monotonic() - self._reader.caught_up_at

    def _health_page(self) -> tuple[int, str, bytes]:
        uptime_s = round(time.time() - self._started_at, 1)
        body = {
            "status": "ok",
            "service": self.name,
            "uptime_s": uptime_s,
            "pid": os.getpid(),
            "version": VERSION,
            "commit": commit(),
            **self.health(),
        }
        return 200, "application/json", msgspec.json.encode(health_of_all(body))

    def _description_page(self) -> tuple[int, str, bytes]:
        url = self._settings.public_ws_url or f"ws://{host_in_url(self._settings.bind_host)}:{self.port}"
        return 200, "application/json", asyncapi.published(url)

    def _ready_page(self) -> tuple[int, str, bytes]:
        readiness = readiness_of_all(self._readiness())
        return 200 if readiness.ready else 503, "application/json", msgspec.json.encode(readiness)


def _metrics_page() -> tuple[int, str, bytes]:
    return 200, CONTENT_TYPE_LATEST, metrics_of_all()


async def _until(stop: asyncio.Event) -> None:
    await stop.wait()
