"""Rate limits: a sliding window per caller, counted in Redis for all gateways, per process when Redis is away.

The checks of one turn of the event loop travel together: one Lua call counts all of them.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Mapping, Sequence

import msgspec
import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from zmart.settings import Settings

log = structlog.get_logger()

WINDOW_S = 60
_REST_S = 1.0
_ANSWER_WITHIN_S = 0.25
_MAX_LOCAL_KEYS = 100_000

# KEYS: one per caller. ARGV: now in ms, window in ms, then for each key its limit and how many requests it has now.
# Answers for each key: how many of them may go on, and how many were left before.
# A window is the count of this minute and the share of the last minute that still lies in it.
_LUA = """
local now, window, out = tonumber(ARGV[1]), tonumber(ARGV[2]), {}
local this = math.floor(now / window)
local share = 1 - (now % window) / window
for i, key in ipairs(KEYS) do
  local limit, wanted = tonumber(ARGV[i * 2 + 1]), tonumber(ARGV[i * 2 + 2])
  local held = redis.call('HMGET', key, 'w', 'n', 'p')
  local w, n, p = tonumber(held[1]) or this, tonumber(held[2]) or 0, tonumber(held[3]) or 0
  if w == this - 1 then p, n = n, 0 elseif w ~= this then p, n = 0, 0 end
  local used = n + p * share
  local granted = math.max(0, math.min(wanted, math.ceil(limit - used)))
  redis.call('HSET', key, 'w', this, 'n', n + granted, 'p', p)
  redis.call('PEXPIRE', key, window * 2)
  out[#out + 1] = granted
  out[#out + 1] = math.floor(limit - used)
end
return out
"""


class Policy(msgspec.Struct, frozen=True):
    """So many requests a minute; `name` is what clients see."""

    name: str
    per_minute: int


def policies(settings: Settings) -> dict[str, Policy]:
    """Every policy by its name."""
    wanted = {
        "reads": settings.rate_limit_reads,
        "writes": settings.rate_limit_writes,
        "votes": settings.rate_limit_votes,
        "comments": settings.rate_limit_comments,
        "nonce": settings.rate_limit_nonce,
    }
    return {name: Policy(name, per_minute) for name, per_minute in wanted.items()}


class Verdict(msgspec.Struct, frozen=True):
    """Whether a request may go on, how many are left, and in how many seconds the window has moved on."""

    allowed: bool
    remaining: int
    reset_s: int


class Grant(msgspec.Struct, frozen=True):
    """How many of a caller's requests that were counted together may go on, and how many were left before."""

    granted: int
    left: int
    reset_s: int

    def verdict(self, place: int) -> Verdict:
        """Of the request that came after `place` others."""
        return Verdict(place < self.granted, max(0, self.left - min(place + 1, self.granted)), self.reset_s)


class _Crowd:
    """The requests of one caller that are counted together."""

    def __init__(self, policy: Policy, key: str) -> None:
        self.policy = policy
        self.key = key
        self.waiting: list[asyncio.Future[Verdict]] = []


class Limiter:
    """`take(policy, key)` counts one request; `begin` is the same without waiting for the verdict."""

    def __init__(self, redis: Redis | None) -> None:
        self._redis = redis
        self._script = None if redis is None else redis.register_script(_LUA)
        self._local = LocalCounts()
        self._crowds: dict[tuple[str, str], _Crowd] = {}
        self._flush: asyncio.Task[None] | None = None
        self._rests_until = 0.0

    async def take(self, policy: Policy, key: str) -> Verdict:
        return await self.begin(policy, key)

    def begin(self, policy: Policy, key: str) -> asyncio.Future[Verdict]:
        answer: asyncio.Future[Verdict] = asyncio.get_running_loop().create_future()
        if self._script is None or time.monotonic() < self._rests_until:
            answer.set_result(self._local.take(f"{policy.name}:{key}", policy.per_minute))
            return answer
        crowd = self._crowds.get((policy.name, key))
        if crowd is None:
            crowd = self._crowds[policy.name, key] = _Crowd(policy, key)
        crowd.waiting.append(answer)
        if self._flush is None or self._flush.done():
            self._flush = asyncio.create_task(self._count_all())
        return answer

    async def count(self, policy: Policy, wanted: Mapping[str, int]) -> dict[str, Grant]:
        """Count several requests of each of some callers at once."""
        grants = await self._counted([(policy, key, number) for key, number in wanted.items()])
        return dict(zip(wanted, grants, strict=True))

    async def _count_all(self) -> None:
        while self._crowds:
            crowds, self._crowds = list(self._crowds.values()), {}
            wanted = [(crowd.policy, crowd.key, len(crowd.waiting)) for crowd in crowds]
            for crowd, grant in zip(crowds, await self._counted(wanted), strict=True):
                for place, answer in enumerate(crowd.waiting):
                    if not answer.done():
                        answer.set_result(grant.verdict(place))

    async def _counted(self, wanted: Sequence[tuple[Policy, str, int]]) -> list[Grant]:
        if self._script is None or time.monotonic() < self._rests_until:
            return self._counted_here(wanted)
        now_ms = int(time.time() * 1000)
        keys = [f"rate:{policy.name}:{key}" for policy, key, _ in wanted]
        counts = [figure for policy, _, number in wanted for figure in (policy.per_minute, number)]
        try:
            async with asyncio.timeout(_ANSWER_WITHIN_S):
                said = await self._script(keys=keys, args=[now_ms, WINDOW_S * 1000, *counts])
        except (RedisError, OSError, TimeoutError) as problem:
            log.warning("rate limits are kept by this process", reason=f"{type(problem).__name__}: {problem}")
            self._rests_until = time.monotonic() + _REST_S
            return self._counted_here(wanted)
        reset_s = WINDOW_S - now_ms // 1000 % WINDOW_S
        return [Grant(int(said[i]), int(said[i + 1]), reset_s) for i in range(0, 2 * len(wanted), 2)]

    def _counted_here(self, wanted: Sequence[tuple[Policy, str, int]]) -> list[Grant]:
        return [
            self._local.grant(f"{policy.name}:{key}", policy.per_minute, number)
            for policy, key, number in wanted
        ]


def policy_header(policy: Policy) -> bytes:
    """draft-ietf-httpapi-ratelimit-headers: RateLimit-Policy."""
    return b'"%b";q=%d;w=%d' % (policy.name.encode(), policy.per_minute, WINDOW_S)


def limit_header(policy: Policy, verdict: Verdict) -> bytes:
    """RateLimit, of the same draft."""
    return b'"%b";r=%d;t=%d' % (policy.name.encode(), verdict.remaining, verdict.reset_s)


class LocalCounts:
    """The same window in this process alone."""

    def __init__(self) -> None:
        self._counts: dict[str, tuple[int, int, int]] = {}

    def take(self, key: str, limit: int) -> Verdict:
        return self.grant(key, limit, 1).verdict(0)

    def grant(self, key: str, limit: int, wanted: int) -> Grant:
        now = time.time()
        this = int(now // WINDOW_S)
        window, count, before = self._counts.get(key, (this, 0, 0))
        if window != this:
            before, count = (count, 0) if window == this - 1 else (0, 0)
        used = count + before * (1 - now % WINDOW_S / WINDOW_S)
        granted = max(0, min(wanted, math.ceil(limit - used)))
        if len(self._counts) > _MAX_LOCAL_KEYS:
            self._counts.clear()
        self._counts[key] = (this, count + granted, before)
        return Grant(granted, math.floor(limit - used), WINDOW_S - int(now) % WINDOW_S)
