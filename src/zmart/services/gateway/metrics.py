"""What the gateway counts."""

from __future__ import annotations

from functools import lru_cache

from prometheus_client import Counter, Histogram

REQUESTS = Counter("zmart_gateway_requests", "Requests answered", ["method", "route", "status"])
SECONDS = Histogram(
    "zmart_gateway_request_seconds",
    "Time until a request was answered",
    ["route"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5),
)
LIMITED = Counter("zmart_gateway_limited", "Requests refused by a rate limit", ["policy"])
SIMULATIONS = Counter(
    "zmart_gateway_simulations", "Transactions built, by what their simulation said", ["result"]
)


def count(method: str, route: str, status: int, seconds: float) -> None:
    """A request that was answered."""
    requests, times = _of(method, route, status)
    requests.inc()
    times.observe(seconds)


@lru_cache(maxsize=4096)
def _of(method: str, route: str, status: int) -> tuple[Counter, Histogram]:
    return REQUESTS.labels(method, route, str(status)), SECONDS.labels(route)
