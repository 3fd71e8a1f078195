"""Tests of the rate limiter: requests are counted in Redis for all gateways, with few calls."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator

import pytest

from zmart.feed import redis_client
from zmart.feed.redis_client import RedisClient
from zmart.services.gateway.http.rate_limiter import COUNT_WITHIN_S, RateLimiter
from zmart.services.gateway.http.rate_limits import RateLimitPolicy

POLICY = RateLimitPolicy("reads", 1_000_000)


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[RedisClient]:
    client = redis_client.connect(redis_url, connections=4, connect_s=5.0, answer_s=5.0, retries=1)
    yield client
    await client.aclose()


async def test_a_client_with_requests_left_is_counted_together_every_20_ms_and_completely(
    redis: RedisClient,
) -> None:
    limiter, taken = RateLimiter(redis), 0
    await limiter.take(POLICY, "busy")
    calls_before, began = await _calls(redis), time.monotonic()
    while time.monotonic() - began < 0.3:
        taken += sum(verdict.allowed for verdict in [await limiter.take(POLICY, "busy") for _ in range(10)])
        await asyncio.sleep(0)
    most = math.ceil((time.monotonic() - began) / COUNT_WITHIN_S) + 1
    assert await _calls(redis) - calls_before <= most
    await limiter.close()
    held = await redis.hgetall("rate:reads:busy")
    assert sum(int(held[name]) for name in (b"n", b"p") if name in held) == taken + 1


async def test_who_comes_near_the_limit_waits_for_the_count_of_all_gateways(redis: RedisClient) -> None:
    policy = RateLimitPolicy("writes", 30)
    gateways = [RateLimiter(redis), RateLimiter(redis)]
    verdicts = [await gateways[number % 2].take(policy, "one") for number in range(40)]
    assert 30 <= sum(verdict.allowed for verdict in verdicts) <= 31  # a minute may begin in between
    for gateway in gateways:
        await gateway.close()


@pytest.mark.parametrize("limit", [30, 1_000], ids=["counted at once", "counted later"])
async def test_what_is_given_back_is_counted_no_more_and_nothing_else_is(
    redis: RedisClient, limit: int
) -> None:
    policy = RateLimitPolicy("drafts", limit, 86_400)
    limiter = RateLimiter(redis, answer_within_s=10)
    for _ in range(limit // 2):
        await limiter.take(policy, "one")
    for _ in range(3):
        await limiter.take(policy, "one")
        await limiter.give_back(policy, "one")
    await limiter.give_back(policy, "another")
    await limiter.close()
    assert await redis.hget("rate:drafts:one", "n") == b"%d" % (limit // 2)
    assert await redis.hget("rate:drafts:another", "n") == b"0"


async def test_gateways_whose_clocks_differ_do_not_forget_counts_as_a_window_begins(
    redis: RedisClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of two gateways is in the new minute already; its count does not start again when the other one counts."""
    policy, boundary = RateLimitPolicy("writes", 20), (time.time() // 60 + 1) * 60
    early, late, allowed = RateLimiter(redis), RateLimiter(redis), 0
    for _ in range(40):
        for gateway, now in ((early, boundary + 0.02), (late, boundary - 0.02)):
            monkeypatch.setattr(time, "time", lambda now=now: now)
            allowed += (await gateway.take(policy, "one")).allowed
    assert allowed == 20


async def _calls(redis: RedisClient) -> int:
    figures = await redis.info("commandstats")
    return sum(figures.get(f"cmdstat_{name}", {}).get("calls", 0) for name in ("evalsha", "eval"))
