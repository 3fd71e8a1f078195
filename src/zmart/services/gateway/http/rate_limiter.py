"""Count requests for rate limits: in Redis for all gateways together, or in this process while Redis is unavailable.

Concurrent checks share one call of a Lua script. A client that has many requests left is admitted at once and counted
some milliseconds later; only a client near its limit waits for the count.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from zmart.errors import StoreError
from zmart.feed.redis_client import RedisClient
from zmart.outage_lines import OutageLines
from zmart.services.gateway.http.rate_limits import (
    LocalCounts,
    RateLimitGrant,
    RateLimitPolicy,
    RateLimitVerdict,
)

_PAUSE_S = 1.0
ANSWER_WITHIN_S = 0.25
_CERTAIN_S = 1.0
COUNT_WITHIN_S = 0.02
_MAX_CLIENTS = 20_000

# KEYS: one per client. ARGV: the time in ms, then for each key its limit, how many requests to count (less than 0: to
# count no more), its window in ms. Returns for each key how many of these requests are admitted, and how many were left
# before.
# The count of a sliding window is that of the present minute (or day), plus a part of the previous one's count. Once a
# gateway whose clock is ahead has begun a window, it is the present one for all.
_LUA = """
local now, out = tonumber(ARGV[1]), {}
for i, key in ipairs(KEYS) do
  local limit, requested, window = tonumber(ARGV[i * 3 - 1]), tonumber(ARGV[i * 3]), tonumber(ARGV[i * 3 + 1])
  local this = math.floor(now / window)
  local share = 1 - (now % window) / window
  local held = redis.call('HMGET', key, 'w', 'n', 'p')
  local w, n, p = tonumber(held[1]) or this, tonumber(held[2]) or 0, tonumber(held[3]) or 0
  if w == this + 1 then this, share = w, 1 end
  if w == this - 1 then p, n = n, 0 elseif w ~= this then p, n = 0, 0 end
  local used = n + p * share
  local granted = math.max(0, math.min(requested, math.ceil(limit - used)))
  if requested < 0 then granted = math.max(requested, -n) end
  redis.call('HSET', key, 'w', this, 'n', n + granted, 'p', p)
  redis.call('PEXPIRE', key, window * 2)
  out[#out + 1] = granted
  out[#out + 1] = math.floor(limit - used)
end
return out
"""


class _ClientBudget:
    """What this process knows of one client under one policy. `left` requests are certain to be admitted until `until`
    (of time.monotonic). `ahead` requests were admitted and are not counted yet. A client with at most `reserve`
    requests left waits for the count."""

    __slots__ = ("ahead", "key", "left", "policy", "reserve", "reset_s", "until", "waiting")

    def __init__(self, policy: RateLimitPolicy, key: str) -> None:
        self.policy = policy
        self.key = key
        self.reserve = max(20, policy.requests // 10)
        self.left = 0
        self.reset_s = policy.window_s
        self.until = 0.0
        self.ahead = 0
        self.waiting: list[asyncio.Future[RateLimitVerdict]] = []


class RateLimiter:
    """Count requests by policy and client: in Redis, or in this process while Redis is unavailable or not
    configured."""

    def __init__(self, redis: RedisClient | None, answer_within_s: float = ANSWER_WITHIN_S) -> None:
        self.answer_within_s = answer_within_s
        self._script = None if redis is None else redis.register_script(_LUA)
        self._local = LocalCounts()
        self._clients: dict[tuple[str, str], _ClientBudget] = {}
        self._due: dict[_ClientBudget, None] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._working: asyncio.Task[None] | None = None
        self._paused_until = 0.0
        self._outage = OutageLines(
            "rate limits are counted by this process alone", "rate limits are counted in Redis again"
        )

    async def take(self, policy: RateLimitPolicy, key: str) -> RateLimitVerdict:
        """Count one request of the client `key` and return the verdict."""
        return self.at_once(policy, key) or await self.begin(policy, key)

    def at_once(self, policy: RateLimitPolicy, key: str) -> RateLimitVerdict | None:
        """Count one request and return its verdict if that is certain without asking Redis; else count nothing and
        return None."""
        client = self._clients.get((policy.name, key))
        if client is None or client.left <= client.reserve or time.monotonic() >= client.until:
            return None
        client.left -= 1
        client.ahead += 1
        if client.ahead == 1:
            self._due[client] = None
            if self._timer is None:
                self._timer = asyncio.get_running_loop().call_later(COUNT_WITHIN_S, self._start)
        return RateLimitVerdict(True, client.left, client.reset_s)

    def begin(self, policy: RateLimitPolicy, key: str) -> asyncio.Future[RateLimitVerdict]:
        """Begin to count one request of the client `key`, and return a future of its verdict."""
        answer: asyncio.Future[RateLimitVerdict] = asyncio.get_running_loop().create_future()
        if self._script is None or time.monotonic() < self._paused_until:
            answer.set_result(self._local.take(_name(policy, key), policy.requests, policy.window_s))
            return answer
        client = self._clients.get((policy.name, key))
        if client is None:
            if len(self._clients) >= _MAX_CLIENTS:
                self._clients.clear()
            client = self._clients[policy.name, key] = _ClientBudget(policy, key)
        client.waiting.append(answer)
        self._due[client] = None
        if self._working is None or self._working.done():
            self._working = asyncio.create_task(self._count_due())
        return answer

    async def give_back(self, policy: RateLimitPolicy, key: str) -> None:
        """Count one request of the client `key` less, which `take` counted in this window."""
        client = self._clients.get((policy.name, key))
        if client is not None and client.ahead:  # not in Redis yet
            client.ahead -= 1
            client.left += 1
        else:
            await self._counted([(policy, key, -1)])

    async def close(self) -> None:
        """Count in Redis the requests that were admitted and are not counted yet."""
        while self._due or (self._working is not None and not self._working.done()):
            self._start()
            if self._working is not None:
                await self._working
        if self._timer is not None:
            self._timer.cancel()

    def _start(self) -> None:
        self._timer = None
        if self._due and (self._working is None or self._working.done()):
            self._working = asyncio.create_task(self._count_due())

    async def _count_due(self) -> None:
        """Count the due clients until no request waits for a verdict. Requests that were admitted at once meanwhile are
        counted when the timer fires."""
        while self._due:
            clients, self._due = list(self._due), {}
            batch = [(client, client.ahead, client.waiting) for client in clients]
            for client in clients:
                client.ahead, client.waiting = 0, []
            requested = [
                (client.policy, client.key, ahead + len(waiting)) for client, ahead, waiting in batch
            ]
            for (client, ahead, waiting), grant in zip(batch, await self._counted(requested), strict=True):
                _resolve(client, ahead, waiting, grant)
            if not any(client.waiting for client in self._due):
                break
        if self._due and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(COUNT_WITHIN_S, self._start)

    async def _counted(self, requested: Sequence[tuple[RateLimitPolicy, str, int]]) -> list[RateLimitGrant]:
        if self._script is None or time.monotonic() < self._paused_until:
            return self._counted_here(requested)
        now_ms = int(time.time() * 1000)
        keys = [f"rate:{_name(policy, key)}" for policy, key, _ in requested]
        counts = [
            figure
            for policy, _, number in requested
            for figure in (policy.requests, number, policy.window_s * 1000)
        ]
        try:
            async with asyncio.timeout(self.answer_within_s):
                reply = await self._script(keys=keys, args=[now_ms, *counts])
        except Exception as problem:  # requests wait for the verdict, whatever Redis answered
            self._outage.failed(problem, trace=not isinstance(problem, (StoreError, TimeoutError)))
            self._paused_until = time.monotonic() + _PAUSE_S
            return self._counted_here(requested)
        self._outage.succeeded()
        return [
            RateLimitGrant(
                int(reply[2 * i]), int(reply[2 * i + 1]), policy.window_s - now_ms // 1000 % policy.window_s
            )
            for i, (policy, _, _) in enumerate(requested)
        ]

    def _counted_here(self, requested: Sequence[tuple[RateLimitPolicy, str, int]]) -> list[RateLimitGrant]:
        return [
            self._local.grant(_name(policy, key), policy.requests, number, policy.window_s)
            for policy, key, number in requested
        ]


def _resolve(
    client: _ClientBudget, ahead: int, waiting: list[asyncio.Future[RateLimitVerdict]], grant: RateLimitGrant
) -> None:
    for position, answer in enumerate(waiting, start=ahead):
        if not answer.done():
            answer.set_result(grant.verdict(position))
    client.left = grant.left - min(ahead + len(waiting), grant.granted) - client.ahead
    client.reset_s = grant.reset_s
    client.until = time.monotonic() + _CERTAIN_S


def _name(policy: RateLimitPolicy, key: str) -> str:
    return f"{policy.name}:{key}"
