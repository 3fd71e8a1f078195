"""Rate limits: policies, verdicts, and a sliding window that this process counts by itself."""

from __future__ import annotations

import math
import time

import msgspec

from zmart.settings import Settings

WINDOW_S = 60
_MAX_LOCAL_KEYS = 20_000


class RateLimitPolicy(msgspec.Struct, frozen=True):
    """So many requests a minute; `name` is what clients see."""

    name: str
    per_minute: int


def policies(settings: Settings) -> dict[str, RateLimitPolicy]:
    """Every policy by its name."""
    wanted = {
        "reads": settings.rate_limit_reads,
        "writes": settings.rate_limit_writes,
        "votes": settings.rate_limit_votes,
        "comments": settings.rate_limit_comments,
        "nonce": settings.rate_limit_nonce,
    }
    return {name: RateLimitPolicy(name, per_minute) for name, per_minute in wanted.items()}


class RateLimitVerdict(msgspec.Struct, frozen=True):
    """Whether a request may go on, how many are left, and in how many seconds the window has moved on."""

    allowed: bool
    remaining: int
    reset_s: int


class RateLimitGrant(msgspec.Struct, frozen=True):
    """How many of a client's requests that were counted together may go on, and how many were left before."""

    granted: int
    left: int
    reset_s: int

    def verdict(self, place: int) -> RateLimitVerdict:
        """Of the request that came after `place` others."""
        return RateLimitVerdict(
            place < self.granted, max(0, self.left - min(place + 1, self.granted)), self.reset_s
        )


def policy_header(policy: RateLimitPolicy) -> bytes:
    """draft-ietf-httpapi-ratelimit-headers: RateLimit-Policy."""
    return b'"%b";q=%d;w=%d' % (policy.name.encode(), policy.per_minute, WINDOW_S)


def limit_header(policy: RateLimitPolicy, verdict: RateLimitVerdict) -> bytes:
    """RateLimit, of the same draft."""
    return b'"%b";r=%d;t=%d' % (policy.name.encode(), verdict.remaining, verdict.reset_s)


class LocalCounts:
    """The count of this minute and the share of the last minute that still lies in the window, by key."""

    def __init__(self) -> None:
        self._counts: dict[str, tuple[int, int, int]] = {}

    def take(self, key: str, limit: int) -> RateLimitVerdict:
        """Count one request."""
        return self.grant(key, limit, 1).verdict(0)

    def grant(self, key: str, limit: int, wanted: int) -> RateLimitGrant:
        """Count several."""
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
        return RateLimitGrant(granted, math.floor(limit - used), WINDOW_S - int(now) % WINDOW_S)
