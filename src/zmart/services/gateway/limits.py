"""Rate limits: a sliding window per caller, counted in Redis for all gateways, per process when Redis is away.

The checks of one turn of the event loop travel together: one Lua call counts all of them.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

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

    async def _count_all(self) -> None:
        while self._crowds:
            crowds, self._crowds = list(self._crowds.values()), {}
            for crowd, verdicts in zip(crowds, await self._counted(crowds), strict=True):
                for answer, verdict in zip(crowd.waiting, verdicts, strict=True):
                    if not answer.done():
                        answer.set_result(verdict)

    async def _counted(self, crowds: Sequence[_Crowd]) -> list[list[Verdict]]:
        assert self._script is not None
        now_ms = int(time.time() * 1000)
        keys = [f"rate:{crowd.policy.name}:{crowd.key}" for crowd in crowds]
        counts = [number for crowd in crowds for number in (crowd.policy.per_minute, len(crowd.waiting))]
        try:
            async with asyncio.timeout(_ANSWER_WITHIN_S):
                said = await self._script(keys=keys, args=[now_ms, WINDOW_S * 1000, *counts])
        except (RedisError, OSError, TimeoutError) as problem:
            log.warning("rate limits are kept by this process", reason=f"{type(problem).__name__}: {problem}")
            self._rests_until = time.monotonic() + _REST_S
            return [self._counted_here(crowd) for crowd in crowds]
        reset_s = WINDOW_S - now_ms // 1000 % WINDOW_S
        return [
            _verdicts(len(crowd.waiting), int(said[2 * i]), int(said[2 * i + 1]), reset_s)
            for i, crowd in enumerate(crowds)
        ]

    def _counted_here(self, crowd: _Crowd) -> list[Verdict]:
        key = f"{crowd.policy.name}:{crowd.key}"
        return [self._local.take(key, crowd.policy.per_minute) for _ in crowd.waiting]


def _verdicts(wanted: int, granted: int, left: int, reset_s: int) -> list[Verdict]:
    """In order of arrival: the first `granted` go on."""
    return [Verdict(i < granted, max(0, left - min(i + 1, granted)), reset_s) for i in range(wanted)]


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
        now = time.time()
        this = int(now // WINDOW_S)
        window, count, before = self._counts.get(key, (this, 0, 0))
        if window != this:
            before, count = (count, 0) if window == this - 1 else (0, 0)
        used = count + before * (1 - now % WINDOW_S / WINDOW_S)
        allowed = used < limit
        if len(self._counts) > _MAX_LOCAL_KEYS:
            self._counts.clear()
        self._counts[key] = (this, count + allowed, before)
        return Verdict(allowed, max(0, int(limit - used - allowed)), WINDOW_S - int(now) % WINDOW_S)
