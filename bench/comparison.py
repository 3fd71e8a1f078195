"""Compare the subjects under one load: medians over the rounds, ratios to the peers, and goals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import TypeVar

GATEWAY, EXPRESS, FASTIFY, BARE = "gateway", "Express 4", "Fastify 5", "bare ASGI"
DATABASE_GOAL, CACHE_GOAL, FASTIFY_GOAL = 2.0, 2.5, 1.0
P99_GOAL = 0.5
"""The largest share of Express's p99 that meets the goal."""

Subject = TypeVar("Subject")


@dataclass(frozen=True)
class Load:
    """The figures of one server under load: its requests, their number per second, and latencies in milliseconds."""

    requests: int
    requests_per_s: float
    p50_ms: float
    p99_ms: float


@dataclass(frozen=True)
class Goal:
    text: str
    met: bool


@dataclass(frozen=True)
class Row:
    """The medians of one subject under one load, and its ratios to the peers.

    `to_express` and `to_fastify` are ratios of requests per second: above 1, the subject is faster. `p99_of_express` is
    its p99 divided by Express's: below 1 is better. `statements` is how many PostgreSQL ran for each answer.
    """

    load: str
    subject: str
    requests_per_s: float
    p50_ms: float
    p99_ms: float
    to_express: float
    to_fastify: float
    p99_of_express: float
    statements: float
    goals: list[Goal] = field(default_factory=list)


def middle(loads: Sequence[Load]) -> Load:
    """Return the median of each figure over several rounds."""
    return Load(
        round(median(load.requests for load in loads)),
        median(load.requests_per_s for load in loads),
        median(load.p50_ms for load in loads),
        median(load.p99_ms for load in loads),
    )


def turns(subjects: Sequence[Subject], round_number: int) -> list[Subject]:
    """Return the order of the subjects in one round; each round begins with another subject."""
    first = round_number % len(subjects)
    return [*subjects[first:], *subjects[:first]]


def rows(
    load: str,
    loads_by_subject: Mapping[str, Sequence[Load]],
    statements: Mapping[str, float],
    *,
    cached: bool,
) -> list[Row]:
    """Return a row for each subject in the order of `loads_by_subject`; the gateway's row has the goals."""
    middles = {subject: middle(loads) for subject, loads in loads_by_subject.items()}
    return [_row(load, subject, middles, statements[subject], cached=cached) for subject in middles]


def _row(load: str, subject: str, middles: Mapping[str, Load], statements: float, *, cached: bool) -> Row:
    own, express, fastify = middles[subject], middles[EXPRESS], middles[FASTIFY]
    to_express = own.requests_per_s / express.requests_per_s
    to_fastify = own.requests_per_s / fastify.requests_per_s
    p99_of_express = own.p99_ms / express.p99_ms
    return Row(
        load,
        subject,
        own.requests_per_s,
        own.p50_ms,
        own.p99_ms,
        round(to_express, 2),
        round(to_fastify, 2),
        round(p99_of_express, 2),
        statements,
        goals(to_express, to_fastify, p99_of_express, cached=cached) if subject == GATEWAY else [],
    )


def goals(to_express: float, to_fastify: float, p99_of_express: float, *, cached: bool) -> list[Goal]:
    """Judge the gateway's ratios, which are not rounded yet."""
    least = CACHE_GOAL if cached else DATABASE_GOAL
    judged = [
        Goal(f">= {least}x Express", to_express >= least),
        Goal(f"p99 <= {P99_GOAL}x Express's", p99_of_express <= P99_GOAL),
    ]
    if not cached:
        judged.append(Goal(f">= {FASTIFY_GOAL}x Fastify", to_fastify >= FASTIFY_GOAL))
    return judged
