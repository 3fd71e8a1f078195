"""Define the metrics of the connections to PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol
from weakref import WeakSet

import msgspec
from prometheus_client import REGISTRY, Counter
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from zmart.errors import Busy, ReadOnly, RolledBack, Unavailable

errors = Counter(
    "zmart_database_errors", "Statements and connections that PostgreSQL did not serve", ["kind"]
)
for kind in (Unavailable, Busy, ReadOnly, RolledBack):
    errors.labels(kind.__name__)


class PoolState(Protocol):
    """The figures of a pool of connections that its metrics need. `size`: the maximum number of connections."""

    size: int

    @property
    def in_use(self) -> int:
        """The number of connections that are in use."""
        ...

    @property
    def idle(self) -> int:
        """The number of connections that are open and not in use."""
        ...

    @property
    def waiting(self) -> int:
        """The number of callers that wait for a connection."""
        ...


class PoolTotals(msgspec.Struct, frozen=True):
    """The connections of all open pools of this process. `limit` is the most that they may open."""

    in_use: int
    idle: int
    limit: int
    waiting: int


class PoolFigures(Collector):
    """Sum up the connections of all open pools of this process for Prometheus. Pools are used by one thread only, so no
    lock is needed."""

    def __init__(self) -> None:
        self._pools: WeakSet[PoolState] = WeakSet()

    def add(self, pool: PoolState) -> None:
        """Count a pool from now on, until it is removed or garbage-collected."""
        self._pools.add(pool)

    def remove(self, pool: PoolState) -> None:
        """Stop counting a pool, because it is closed."""
        self._pools.discard(pool)

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics for Prometheus: connections by state, their limit, and callers that wait."""
        totals = self.totals()
        connections = GaugeMetricFamily(
            "zmart_database_connections", "Open connections by state", labels=["state"]
        )
        connections.add_metric(["in_use"], totals.in_use)
        connections.add_metric(["idle"], totals.idle)
        yield connections
        yield GaugeMetricFamily(
            "zmart_database_connections_limit", "Most connections of all pools", totals.limit
        )
        yield GaugeMetricFamily(
            "zmart_database_waiting", "Callers that wait for a connection", totals.waiting
        )

    def totals(self) -> PoolTotals:
        """Return the sums over all open pools."""
        pools = list(self._pools)
        return PoolTotals(
            in_use=sum(pool.in_use for pool in pools),
            idle=sum(pool.idle for pool in pools),
            limit=sum(pool.size for pool in pools),
            waiting=sum(pool.waiting for pool in pools),
        )


POOLS = PoolFigures()
REGISTRY.register(POOLS)
