"""Turn what the gateway's own process knows, without asking any server, into cards of the dashboard."""

from __future__ import annotations

import math

from prometheus_client import REGISTRY

from zmart.ops.dashboard_rows import FigureCard
from zmart.store.metrics import POOLS, PoolTotals
from zmart.version import VERSION, commit

UNKNOWN = "unknown"
_CONNECTIONS = "database connections in use"


def process_cards() -> list[FigureCard]:
    """Return the release, the database connections of this process, and the last ping of Redis, from its metrics."""
    return [
        FigureCard("version", VERSION),
        FigureCard("commit", commit()),
        database_card(POOLS.totals()),
        redis_card(_sample("zmart_redis_up"), _sample("zmart_redis_ping_seconds")),
    ]


def database_card(totals: PoolTotals) -> FigureCard:
    """Return the card of the connections in use. `limit` is 0 in a process without a pool."""
    if not totals.limit:
        return FigureCard(_CONNECTIONS, UNKNOWN)
    waiting = f", {totals.waiting} waiting" if totals.waiting else ""
    value = f"{totals.in_use} of {totals.limit}{waiting}"
    return FigureCard(_CONNECTIONS, value, "warn" if totals.waiting else "")


def redis_card(up: float, ping_s: float) -> FigureCard:
    """Return the card of Redis: whether it answered the last ping, and how long that took. NaN is unknown."""
    if math.isnan(up):
        return FigureCard("Redis", UNKNOWN)
    if not up:
        return FigureCard("Redis", "does not answer", "bad")
    return FigureCard("Redis", f"up, {ping_s * 1000:.1f} ms", "good")


def _sample(name: str) -> float:
    value = REGISTRY.get_sample_value(name)
    return math.nan if value is None else value
