"""Cache the present tallies of open votes in Redis, one hash per vote; the cache may be deleted at any time."""

from __future__ import annotations

import time

import structlog

from zmart.errors import StoreError
from zmart.feed import redis_client
from zmart.market.tally import Tally
from zmart.market.types import MarketId
from zmart.store import market_work
from zmart.store.pool import Pool

KEEP_S = 86_400
_BATCH = 500
log = structlog.get_logger()


def key_of(kind: str, market_id: MarketId) -> str:
    """Return the Redis key of a vote's tally; `kind` is "proposal" or "dispute"."""
    return f"votes:{kind}:{market_id}"


class TallyCache:
    """Write tallies to Redis. While Redis is unavailable nothing is written; PostgreSQL holds the true counts."""

    def __init__(self, redis_url: str) -> None:
        self._redis = redis_client.connect(redis_url, connections=2, answer_s=5.0, retries=1)

    async def aclose(self) -> None:
        """Close the connection to Redis."""
        await self._redis.aclose()

    async def refresh(self, pool: Pool) -> None:
        """Write the tallies of all open votes that have votes; each entry expires after a day without a write."""
        counts = await market_work.open_counts(pool)
        try:
            for start in range(0, len(counts), _BATCH):
                await self._write(counts[start : start + _BATCH])
        except StoreError as problem:
            log.warning("tally cache not written: Redis is unavailable", problem=str(problem))

    async def _write(self, counts: list[tuple[MarketId, str, Tally]]) -> None:
        now_ms = time.time_ns() // 1_000_000
        async with self._redis.pipeline(transaction=False) as pipe:
            for market_id, kind, tally in counts:
                key = key_of(kind, market_id)
                counted = [("for", tally.votes_for), ("against", tally.votes_against), ("total", tally.total)]
                fields = [*counted, ("bps", tally.bps), ("updated_at", now_ms)]
                pipe.hset(key, items=[word for field in fields for word in field])
                pipe.expire(key, KEEP_S)
            with redis_client.store_errors():
                await pipe.execute()
