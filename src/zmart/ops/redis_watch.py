"""Measure whether Redis answers a ping, and the ping's latency."""

from __future__ import annotations

import asyncio
import math
import time

from prometheus_client import Gauge

from zmart.errors import StoreError
from zmart.feed import redis_client
from zmart.feed.redis_client import RedisClient
from zmart.store.retrying import pause

EVERY_S = 5.0
_ANSWER_S = 2.0

up = Gauge("zmart_redis_up", "1 if Redis answered the last ping, 0 if it did not")
ping_seconds = Gauge("zmart_redis_ping_seconds", "How long the last ping took")
for gauge in (up, ping_seconds):
    gauge.set(math.nan)  # until it is measured


async def watch_redis(redis_url: str, stop: asyncio.Event, every_s: float = EVERY_S) -> None:
    """Ping Redis every `every_s` seconds until `stop` is set, and set the metrics."""
    client = redis_client.connect(redis_url, connections=1, connect_s=_ANSWER_S, answer_s=_ANSWER_S)
    try:
        while not stop.is_set():
            await ping(client)
            await pause(stop, every_s)
    finally:
        await client.aclose()


async def ping(client: RedisClient) -> None:
    """Ping Redis once, and set the metrics. The latency is NaN if Redis does not answer within 2 s."""
    began_s = time.monotonic()
    try:
        await client.ping()
    except StoreError:
        up.set(0)
        ping_seconds.set(math.nan)
    else:
        up.set(1)
        ping_seconds.set(time.monotonic() - began_s)
