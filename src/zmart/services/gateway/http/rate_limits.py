"""Define rate limits: policies, verdicts, and the sliding window by which this process counts alone."""

from __future__ import annotations

import math
import time

import msgspec

from zmart.settings import Settings

WINDOW_S = 60
DAY_S = 86_400
_MAX_LOCAL_KEYS = 20_000


class RateLimitPolicy(msgspec.Struct, frozen=True):
    """A limit of `requests` within `window_s` seconds. Clients see its `name` in headers and messages."""

    name: str
    requests: int
    window_s: int = WINDOW_S


def quota(name: str, requests: int) -> RateLimitPolicy:
    """Return a limit for a day, for uses that cost us more than the request itself, such as pins."""
    return RateLimitPolicy(name, requests, DAY_S)


def at_least(policy: RateLimitPolicy, requests: int) -> RateLimitPolicy:
    """Return the policy with at least this many requests, for a daily quota that shall not be less than what the
    settings allow in a minute: then many clients share an address, as on the local stack."""
    return msgspec.structs.replace(policy, requests=max(policy.requests, requests))


def policies(settings: Settings) -> dict[str, RateLimitPolicy]:
    """Return the policies of the RATE_LIMIT_ settings (requests a minute), by name."""
    limits = {
        "reads": settings.rate_limit_reads,
        "writes": settings.rate_limit_writes,
        "votes": settings.rate_limit_votes,
        "comments": settings.rate_limit_comments,
        "nonce": settings.rate_limit_nonce,
    }
    return {name: RateLimitPolicy(name, requests) for name, requests in limits.items()}


class RateLimitVerdict(msgspec.Struct, frozen=True):
    """Whether a request is admitted (`allowed`), how many more are (`remaining`), and in how many seconds the window
    ends."""

    allowed: bool
    remaining: int
    reset_s: int


class RateLimitGrant(msgspec.Struct, frozen=True):
    """The result of counting several requests of a client together: how many of them are admitted (`granted`), how many
    were still allowed before them (`left`), and in how many seconds the window ends."""

    granted: int
    left: int
    reset_s: int

    def verdict(self, position: int) -> RateLimitVerdict:
        """Return the verdict of one of these requests, before which `position` others of them are counted."""
        return RateLimitVerdict(
            position < self.granted, max(0, self.left - min(position + 1, self.granted)), self.reset_s
        )


def policy_header(policy: RateLimitPolicy) -> bytes:
    """Return the value of the header RateLimit-Policy of draft-ietf-httpapi-ratelimit-headers."""
    return b'"%b";q=%d;w=%d' % (policy.name.encode(), policy.requests, policy.window_s)


def limit_header(policy: RateLimitPolicy, verdict: RateLimitVerdict) -> bytes:
    """Return the value of the header RateLimit of draft-ietf-httpapi-ratelimit-headers."""
    return b'"%b";r=%d;t=%d' % (policy.name.encode(), verdict.remaining, verdict.reset_s)


class LocalCounts:
    """Count requests by key in this process alone. The count of a sliding window is that of the present minute (or
    day), plus the part of the previous one's count that is still within `window_s` seconds."""

    def __init__(self) -> None:
        self._counts: dict[str, tuple[int, int, int]] = {}

    def take(self, key: str, limit: int, window_s: int = WINDOW_S) -> RateLimitVerdict:
        """Count one request for `key` and return the verdict."""
        return self.grant(key, limit, 1, window_s).verdict(0)

    def grant(self, key: str, limit: int, requested: int, window_s: int = WINDOW_S) -> RateLimitGrant:
        """Count `requested` requests for `key` together, and return how many of them are admitted. Less than 0: count
        as many less."""
        now = time.time()
        this = int(now // window_s)
        window, count, before = self._counts.get(key, (this, 0, 0))
        if window != this:
            before, count = (count, 0) if window == this - 1 else (0, 0)
        used = count + before * (1 - now % window_s / window_s)
        granted = (
            max(0, min(requested, math.ceil(limit - used))) if requested >= 0 else max(requested, -count)
        )
        if len(self._counts) > _MAX_LOCAL_KEYS:
            self._counts.clear()
        self._counts[key] = (this, count + granted, before)
        return RateLimitGrant(granted, math.floor(limit - used), window_s - int(now) % window_s)
