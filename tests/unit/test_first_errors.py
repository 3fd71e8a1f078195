"""What the alert rules count is exported at 0 by a process that has just started: its first error is an increase."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import pytest
from prometheus_client import REGISTRY, CollectorRegistry, Counter, Histogram
from prometheus_client.core import Metric
from test_prometheus_rules import rules

from kit.runbook import counted, metrics
from zmart.chain.endpoint_guard import EndpointGuard
from zmart.chain.rpc import Rpc
from zmart.decisions.ticks import TickRecord
from zmart.ops.background import BackgroundJobs
from zmart.services.gateway.metrics import Requests

AT_START = {
    "zmart_background_failures_total": "when the job starts",
    "zmart_rpc_refused_answers_total": "when the endpoint is guarded",
    "zmart_aggregator_ticks_total": "by TickRecord",
    "zmart_monitor_ticks_total": "by TickRecord",
    "zmart_snapshots_ticks_total": "by TickRecord",
}
"""Counters whose labels are known when a service starts, and not when its modules are imported."""
SELECTORS = sorted(
    {(name, *matchers.items()) for rule in rules() for name, matchers in counted(rule["expr"])}
)


def values(collected: Iterable[Metric], name: str, matchers: dict[str, str]) -> list[float]:
    return [
        sample.value
        for metric in collected
        for sample in metric.samples
        if sample.name == name and matchers.items() <= sample.labels.items()
    ]


@pytest.mark.parametrize("selector", SELECTORS, ids=lambda selector: " ".join(map(str, selector)))
def test_what_a_rule_counts_is_exported_before_it_is_counted(
    selector: tuple[str, *tuple[tuple[str, str], ...]],
):
    name, *matchers = selector
    assert name in metrics()
    assert name in AT_START or values(REGISTRY.collect(), name, dict(matchers))


async def test_the_failures_of_a_job_are_exported_when_it_starts() -> None:
    jobs = BackgroundJobs(asyncio.Event())
    jobs.start("A job without failures", asyncio.Event().wait)
    exported = values(
        REGISTRY.collect(), "zmart_background_failures_total", {"work": "A job without failures"}
    )
    await jobs.end()
    assert exported == [0]


async def test_the_refused_answers_of_an_endpoint_are_exported_when_it_is_guarded() -> None:
    async def nothing_recorded() -> None:
        return None

    async with Rpc(["http://one.test:1", "http://other.test:2"]) as rpc:
        rpc.guard_with(EndpointGuard(nothing_recorded))
    for endpoint in ("The RPC at one.test:1", "The RPC at other.test:2"):
        exported = values(REGISTRY.collect(), "zmart_rpc_refused_answers_total", {"endpoint": endpoint})
        assert exported == [0]


@pytest.mark.parametrize("label", ["result", "outcome"])
def test_failed_ticks_are_exported_before_the_first_tick(label: str) -> None:
    registry = CollectorRegistry()
    ticks = Counter("ticks", "Ticks", [label], registry=registry)
    TickRecord("t", ticks, Histogram("tick_seconds", "Seconds", registry=registry))
    for result in ("ok", "failed"):
        assert values(registry.collect(), "ticks_total", {label: result}) == [0]


def test_answers_are_counted_by_the_class_of_their_status_and_all_classes_are_exported_before_the_first() -> (
    None
):
    requests = Requests()

    def classes() -> dict[str, list[float]]:
        names = ("1xx", "2xx", "3xx", "4xx", "5xx")
        collected = list(requests.collect())
        return {
            name: values(collected, "zmart_gateway_answers_total", {"status_class": name}) for name in names
        }

    assert classes() == {"1xx": [0], "2xx": [0], "3xx": [0], "4xx": [0], "5xx": [0]}
    for status in (200, 204, 304, 404, 429, 500, 503, 504, 0):  # 0: the client left before the response began
        requests.count("GET", "/api/markets", status, 0.01)
    assert classes() == {"1xx": [0], "2xx": [2], "3xx": [1], "4xx": [2], "5xx": [3]}
