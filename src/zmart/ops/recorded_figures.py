"""Choose the metrics that are stored for the dashboard's charts, and read their present values in this process."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

import msgspec
from prometheus_client import REGISTRY
from prometheus_client.registry import CollectorRegistry
from prometheus_client.samples import Sample

REQUEST_SECONDS, WRITE_SECONDS, LATENESS_SECONDS = "request_seconds", "write_seconds", "lateness_seconds"
"""Names of histograms in the history. A bucket's count is stored as `<name>:<upper bound in seconds>`."""


_SERVER_ERRORS = ("500", "501", "502", "503", "504")


class RecordedMetric(msgspec.Struct, frozen=True):
    """A Prometheus metric and its name in the history; the samples that have the given labels are summed.

    `labels` maps a label to its accepted values; a metric without `labels` is the sum of all its samples.
    """

    name: str
    metric: str
    labels: Mapping[str, tuple[str, ...]] = {}
    by: str = ""
    """A label; the samples are summed for each of its values, and the value becomes part of the name."""


COUNTS = (
    RecordedMetric("events", "zmart_indexer_events_total"),
    RecordedMetric("decode_errors", "zmart_indexer_decode_errors_total"),
    RecordedMetric("requests", "zmart_gateway_requests_total"),
    RecordedMetric("server_errors", "zmart_gateway_requests_total", {"status": _SERVER_ERRORS}),
    RecordedMetric(REQUEST_SECONDS, "zmart_gateway_request_seconds_bucket", by="le"),
    RecordedMetric(WRITE_SECONDS, "zmart_indexer_write_seconds_bucket", by="le"),
    RecordedMetric(LATENESS_SECONDS, "zmart_monitor_lateness_seconds_bucket", by="le"),
    RecordedMetric("messages", "zmart_websocket_frames_total"),
    RecordedMetric("connected", "zmart_websocket_connected_total"),
    RecordedMetric("reconnected", "zmart_websocket_reconnected_total"),
    RecordedMetric("votes_accepted", "zmart_votes_accepted_total"),
    RecordedMetric(
        "votes_onchain",
        "zmart_indexer_events_total",
        {"name": ("ProposalVoteSubmitted", "DisputeVoteSubmitted")},
    ),
    RecordedMetric("votes_aggregated", "zmart_votes_aggregated_total"),
    RecordedMetric("ticks_aggregator", "zmart_aggregator_ticks_total"),
    RecordedMetric("ticks_monitor", "zmart_monitor_ticks_total"),
    RecordedMetric("effects", "zmart_effects_total", {"outcome": ("Landed",)}),
    RecordedMetric(
        "finalized", "zmart_effects_total", {"action": ("finalize_market",), "outcome": ("Landed",)}
    ),
    RecordedMetric("failed_decisions", "zmart_market_work_failures_total"),
    RecordedMetric("snapshots_built", "zmart_snapshots_built_total"),
    RecordedMetric("snapshots_verified", "zmart_snapshots_verified_total"),
    RecordedMetric("snapshots_failed", "zmart_snapshots_failures_total"),
)
LEVELS = (
    RecordedMetric("lag_slots", "zmart_indexer_lag_slots"),
    RecordedMetric("inbox", "zmart_indexer_inbox_depth"),
    RecordedMetric("unconfirmed", "zmart_indexer_unconfirmed"),
    RecordedMetric("dead_letters", "zmart_indexer_dead_letters"),
    RecordedMetric("pending_votes", "zmart_aggregator_pending_votes"),
    RecordedMetric("due_markets", "zmart_monitor_due_markets"),
    RecordedMetric("pins_open", "zmart_snapshots_open"),
    RecordedMetric("documents_waiting", "zmart_snapshots_documents_waiting"),
    RecordedMetric("storage_bytes", "zmart_snapshots_storage_bytes"),
    RecordedMetric("payer_lamports", "zmart_payer_lamports"),
    RecordedMetric("decisions_correct", "zmart_monitor_threshold_decisions", {"result": ("correct",)}),
    RecordedMetric("decisions_wrong", "zmart_monitor_threshold_decisions", {"result": ("wrong",)}),
    RecordedMetric("connections", "zmart_websocket_connections"),
)


def present(chosen: Sequence[RecordedMetric], registry: CollectorRegistry = REGISTRY) -> dict[str, float]:
    """Return the present values of the chosen metrics in this process by name, without those that are not finite."""
    samples: dict[str, list[Sample]] = {}
    for family in registry.restricted_registry({each.metric for each in chosen}).collect():
        for sample in family.samples:
            samples.setdefault(sample.name, []).append(sample)
    values: dict[str, float] = {}
    for each in chosen:
        if each.labels and each.metric in samples:
            values[each.name] = 0.0  # the metric exists, and may have no sample with these labels yet
        for name, value in _values(each, samples.get(each.metric, ())):
            values[name] = values.get(name, 0.0) + value
    return {name: value for name, value in values.items() if math.isfinite(value)}


def _values(chosen: RecordedMetric, samples: Sequence[Sample]) -> Iterator[tuple[str, float]]:
    for sample in samples:
        if all(sample.labels.get(label) in values for label, values in chosen.labels.items()):
            yield f"{chosen.name}:{sample.labels[chosen.by]}" if chosen.by else chosen.name, sample.value
