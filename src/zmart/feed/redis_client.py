"""Connect to Redis for the feed: responses as bytes, and no retries inside the client.

A Redis that restarted may have lost its last second, which the caller must notice.
"""

from __future__ import annotations

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

_CONNECTIONS = 4
_CONNECT_S = 2.0
_ANSWER_S = 10.0


def connect(redis_url: str) -> Redis:
    """Return a client, which connects when it is first used. Close it with `aclose()`."""
    pool = BlockingConnectionPool.from_url(
        redis_url,
        max_connections=_CONNECTIONS,
        timeout=_ANSWER_S,
        socket_connect_timeout=_CONNECT_S,
        socket_timeout=_ANSWER_S,
        retry=Retry(NoBackoff(), 0),
    )
    return Redis.from_pool(pool)
