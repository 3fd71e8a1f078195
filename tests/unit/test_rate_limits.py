"""Rate limits count requests in a sliding window; without Redis, each process counts its own."""

from __future__ import annotations

import asyncio
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zmart.services.gateway.http.rate_limiter import RateLimiter
from zmart.services.gateway.http.rate_limiting import within_quotas
from zmart.services.gateway.http.rate_limits import (
    WINDOW_S,
    LocalCounts,
    RateLimitGrant,
    RateLimitPolicy,
    RateLimitVerdict,
    limit_header,
    policies,
    policy_header,
    quota,
)
from zmart.settings import Settings

POLICY = RateLimitPolicy("votes", 3)


@given(st.lists(st.floats(0, 40), min_size=1, max_size=60), st.integers(1, 10))
def test_no_minute_has_more_than_the_limit_and_a_quiet_caller_has_all_of_it(
    pauses: list[float], limit: int
) -> None:
    counts, now, granted = LocalCounts(), 6_000.0, dict[int, int]()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, "time", lambda: now)
        for pause in pauses:
            now += pause
            minute = int(now // WINDOW_S)
            granted[minute] = granted.get(minute, 0) + counts.take("k", limit).allowed
        now += 2 * WINDOW_S
        assert counts.take("k", limit) == RateLimitVerdict(True, limit - 1, WINDOW_S - int(now) % WINDOW_S)
    assert max(granted.values()) <= limit


@given(st.integers(0, 20), st.integers(0, 20))
def test_requests_counted_together_get_what_they_would_have_got_one_by_one(wanted: int, limit: int) -> None:
    together, alone = LocalCounts(), LocalCounts()
    grant = together.grant("k", limit, wanted)
    verdicts = [grant.verdict(position) for position in range(wanted)]
    assert [verdict.allowed for verdict in verdicts] == [
        alone.take("k", limit).allowed for _ in range(wanted)
    ]
    remaining = [verdict.remaining for verdict in verdicts]
    assert remaining == sorted(remaining, reverse=True)
    assert all(number >= 0 for number in remaining)


def test_the_last_request_that_may_go_on_is_told_that_none_is_left() -> None:
    grant = RateLimitGrant(granted=2, left=2, reset_s=30)
    reported = [grant.verdict(position) for position in range(3)]
    assert reported == [
        RateLimitVerdict(True, 1, 30),
        RateLimitVerdict(True, 0, 30),
        RateLimitVerdict(False, 0, 30),
    ]


def test_the_headers_are_those_of_the_draft() -> None:
    assert policy_header(POLICY) == b'"votes";q=3;w=60'
    assert limit_header(POLICY, RateLimitVerdict(True, 2, 41)) == b'"votes";r=2;t=41'


def test_each_policy_has_its_setting() -> None:
    settings = Settings(_env_file=None, rate_limit_votes=7, rate_limit_nonce=8)
    result = policies(settings)
    assert (result["votes"], result["nonce"]) == (RateLimitPolicy("votes", 7), RateLimitPolicy("nonce", 8))
    assert {policy.name for policy in result.values()} == result.keys()


async def test_without_redis_this_process_counts_and_callers_and_policies_have_their_own() -> None:
    limiter, other = RateLimiter(None), RateLimitPolicy("comments", 1)
    verdicts = await asyncio.gather(*(limiter.take(POLICY, "a") for _ in range(5)))
    assert [verdict.allowed for verdict in verdicts] == [True, True, True, False, False]
    assert (await limiter.take(POLICY, "b")).allowed
    assert (await limiter.take(other, "a")).allowed
    assert not (await limiter.take(other, "a")).allowed
    await limiter.close()


def test_what_is_given_back_in_this_process_may_be_taken_again() -> None:
    counts = LocalCounts()
    for _ in range(2):
        assert [counts.take("k", 3, 86_400).allowed for _ in range(4)] == [True, True, True, False]
        assert counts.grant("k", 3, -5, 86_400).granted == -3


async def test_a_request_that_ends_by_its_time_limit_does_not_count_for_a_quota() -> None:
    """The database hangs: nothing is stored within the time limit, and the client is told to repeat its request."""
    limiter, use = RateLimiter(None), (quota("drafts", 1), "one")
    for _ in range(3):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01), within_quotas(limiter, use):
                await asyncio.Event().wait()
