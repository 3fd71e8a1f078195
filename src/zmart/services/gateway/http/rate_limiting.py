"""Admit requests by rate limits: by address, and in addition by wallet once the wallet's proof was found valid. Before
that anyone can name any wallet."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from litestar.types import Message, Send

from zmart.errors import StoreError
from zmart.services.gateway import metrics
from zmart.services.gateway.http.problems import TooManyRequests
from zmart.services.gateway.http.rate_limiter import RateLimiter
from zmart.services.gateway.http.rate_limits import (
    WINDOW_S,
    RateLimitPolicy,
    RateLimitVerdict,
    limit_header,
    policy_header,
)
from zmart.services.gateway.http.request_context import RequestContext

QuotaUse = tuple[RateLimitPolicy, str]
"""A daily quota, and the client for whom one use of it is counted."""
WALLETS_PER_ADDRESS = 4
"""How many wallets behind one address can use their whole limits: all requests with a proof from one address share this
multiple of the limit."""


def of_address(policy: RateLimitPolicy) -> RateLimitPolicy:
    """Return the policy that all requests with a proof from one address share: WALLETS_PER_ADDRESS times the limit of
    `policy`."""
    return RateLimitPolicy(
        f"{policy.name}-of-address", policy.requests * WALLETS_PER_ADDRESS, policy.window_s
    )


async def admit(context: RequestContext, limiter: RateLimiter, policy: RateLimitPolicy, key: str) -> None:
    """Count the request for the client `key`, and keep the verdict for the response's headers. Raises
    TooManyRequests."""
    verdict = await limiter.take(policy, key)
    context.policy, context.rate_limit = policy, verdict
    refuse_above_limit(context)


def refuse_above_limit(context: RequestContext) -> None:
    """Raise TooManyRequests if the request was counted and the verdict is a refusal."""
    policy, verdict = context.policy, context.rate_limit
    if policy is not None and verdict is not None:
        _refuse(policy, verdict)


async def admit_within_quota(limiter: RateLimiter, policy: RateLimitPolicy, key: str) -> None:
    """Count one use of a daily quota for `key`; the response's headers do not show it. Raises TooManyRequests beyond
    the quota."""
    _refuse(policy, await limiter.take(policy, key))


@asynccontextmanager
async def within_quotas(limiter: RateLimiter, *uses: QuotaUse) -> AsyncIterator[None]:
    """Count one use of each daily quota for the block, in which something is stored. Raises TooManyRequests beyond one
    of them. If that happens, the block raises StoreError or its time limit ends it, nothing stays counted: a client may
    repeat its request for as long as the database is unavailable or hangs."""
    counted: list[QuotaUse] = []
    try:
        for policy, key in uses:
            await admit_within_quota(limiter, policy, key)
            counted.append((policy, key))
        yield
    except (TooManyRequests, StoreError, asyncio.CancelledError):
        for policy, key in counted:
            await limiter.give_back(policy, key)
        raise


def _refuse(policy: RateLimitPolicy, verdict: RateLimitVerdict) -> None:
    if verdict.allowed:
        return
    metrics.LIMITED.labels(policy.name).inc()
    window = "minute" if policy.window_s == WINDOW_S else "day"
    message = f"More than {policy.requests} {policy.name} a {window}: wait {verdict.reset_s} s."
    raise TooManyRequests(message, {**limit_headers(policy, verdict), "Retry-After": str(verdict.reset_s)})


def limit_headers(policy: RateLimitPolicy, verdict: RateLimitVerdict) -> dict[str, str]:
    """Return the headers RateLimit-Policy and RateLimit of draft-ietf-httpapi-ratelimit-headers."""
    return {
        "RateLimit-Policy": policy_header(policy).decode(),
        "RateLimit": limit_header(policy, verdict).decode(),
    }


def with_limit_headers(send: Send, context: RequestContext) -> Send:
    """Return a `send` that adds the headers RateLimit-Policy and RateLimit by the context's last verdict, unless the
    response has them."""

    async def with_headers(message: Message) -> None:
        if message["type"] == "http.response.start" and context.policy and context.rate_limit:
            headers = [*message.get("headers", ())]
            if all(name.lower() != b"ratelimit" for name, _ in headers):
                headers.append((b"ratelimit-policy", policy_header(context.policy)))
                headers.append((b"ratelimit", limit_header(context.policy, context.rate_limit)))
            message["headers"] = headers
        await send(message)

    return with_headers
