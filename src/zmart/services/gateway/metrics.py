"""Define the Prometheus metrics of the gateway."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from itertools import accumulate

from prometheus_client import REGISTRY, Counter
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

LIMITED = Counter("zmart_gateway_limited", "Requests refused by a rate limit", ["policy"])
SIMULATIONS = Counter(
    "zmart_gateway_simulations", "Transactions built, by the result of their simulation", ["result"]
)

_STATUS_CLASSES = range(1, 6)
_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


class _Times:
    """A histogram of the response times of one route. `buckets` counts the requests of each range of times, `seconds`
    is the sum of their times."""

    def __init__(self) -> None:
        self.buckets = [0] * (len(_BUCKETS_S) + 1)
        self.seconds = 0.0


class Requests(Collector):
    """Count answered requests and their times, for Prometheus. Only the thread of the event loop counts, so no lock is
    needed."""

    def __init__(self) -> None:
        self._answered: dict[tuple[str, str, int], int] = {}
        self._times: dict[str, _Times] = {}

    def count(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count an answered request by method, route and status; add its time in `seconds` to the histogram of its
        route."""
        key = method, route, status
        self._answered[key] = self._answered.get(key, 0) + 1
        times = self._times.get(route)
        if times is None:
            times = self._times[route] = _Times()
        times.buckets[bisect_left(_BUCKETS_S, seconds)] += 1
        times.seconds += seconds

    def collect(self) -> Iterator[Metric]:
        """Yield the counters of answered requests and the histograms of their times.

        A route and a status are exported once they have occurred; the classes of statuses are exported from the start,
        so that the first 5xx is an increase.
        """
        labels = ["method", "route", "status"]
        answered = CounterMetricFamily("zmart_gateway_requests", "Requests answered", labels=labels)
        for (method, route, status), number in self._answered.items():
            answered.add_metric([method, route, str(status)], number)
        yield answered
        classes = CounterMetricFamily(
            "zmart_gateway_answers",
            "Requests answered, by the class of their status",
            labels=["status_class"],
        )
        by_class = dict.fromkeys(_STATUS_CLASSES, 0)
        for (_, _, status), number in self._answered.items():
            if status:  # 0: the request ended before a response began
                by_class[status // 100] += number
        for status_class, number in by_class.items():
            classes.add_metric([f"{status_class}xx"], number)
        yield classes
        times = HistogramMetricFamily(
            "zmart_gateway_request_seconds", "Time until a request was answered", labels=["route"]
        )
        for route, held in self._times.items():
            edges = [*map(floatToGoString, _BUCKETS_S), "+Inf"]
            buckets = list(zip(edges, accumulate(held.buckets), strict=True))
            times.add_metric([route], buckets, held.seconds)
        yield times


class ResponseCacheFigures(Collector):
    """Count the response cache's hits, misses and bytes, for Prometheus. Only the thread of the event loop counts, so
    no lock is needed."""

    def __init__(self) -> None:
        self.hits = 0
        self.misses = 0
        self.size_bytes = 0

    def collect(self) -> Iterator[Metric]:
        """Yield the counters of hits and misses, and the gauge of bytes."""
        yield CounterMetricFamily(
            "zmart_gateway_cache_hits", "Responses served from the response cache", self.hits
        )
        yield CounterMetricFamily(
            "zmart_gateway_cache_misses", "Cacheable responses that had to be read", self.misses
        )
        yield GaugeMetricFamily(
            "zmart_gateway_cache_bytes",
            "Memory of the response cache, its indexes included",
            self.size_bytes,
        )


REQUESTS = Requests()
REGISTRY.register(REQUESTS)
CACHE = ResponseCacheFigures()
REGISTRY.register(CACHE)
