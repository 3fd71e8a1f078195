"""Add up the metrics of several processes, each given in Prometheus' text format."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

from prometheus_client import generate_latest
from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

_COUNTERS = ("counter", "histogram", "summary")
_LEAST = ("_created", "_start_time_seconds", "_ready", "_up", "_free_bytes")
_GREATEST = ("_offset", "_info", "_age_seconds", "_ping_seconds", "_alerts")
"""Endings of the names of metrics that are not added up: the smallest or the greatest value is reported.

Each process reports the same quantity in them, such as the offset of the change feed.
"""

Key = tuple[str, tuple[tuple[str, str], ...]]
"""The name of a sample with its labels."""


class _Sums(Collector):
    """The summed metrics of several expositions in Prometheus' text format."""

    def __init__(self, expositions: Iterable[str], kinds: tuple[str, ...] = ()) -> None:
        self._metrics: dict[str, Metric] = {}
        self._values: dict[str, dict[Key, float]] = {}
        for exposition in expositions:
            for family in text_string_to_metric_families(exposition):
                if not kinds or family.type in kinds:
                    self._add(family)

    def _add(self, family: Metric) -> None:
        self._metrics.setdefault(family.name, family)
        values = self._values.setdefault(family.name, {})
        for sample in family.samples:
            key = sample.name, tuple(sorted(sample.labels.items()))
            values[key] = _joined(sample.name, values[key], sample.value) if key in values else sample.value

    def collect(self) -> Iterator[Metric]:
        for name, first in self._metrics.items():
            metric = Metric(name, first.documentation, first.type)
            for (sample, labels), value in self._values[name].items():
                metric.add_sample(sample, dict(labels), value)
            yield metric


def _joined(name: str, one: float, other: float) -> float:
    if math.isnan(one) or math.isnan(other):  # NaN: that process does not know the value
        return other if math.isnan(one) else one
    if name.endswith(_LEAST):
        return min(one, other)
    if name.endswith(_GREATEST):
        return max(one, other)
    return one + other


def summed(expositions: Iterable[str]) -> bytes:
    """Return the metrics of several processes as one exposition in Prometheus' text format."""
    return generate_latest(_Sums(expositions))


def ended_counters(expositions: Iterable[str]) -> str:
    """Return the summed counters, histograms and summaries of processes that have ended, in Prometheus' text format.

    Gauges are left out: they hold no longer after the end of a process.
    """
    return generate_latest(_Sums(expositions, _COUNTERS)).decode()
