"""The Grafana dashboard queries metrics that the code has, and shows every metric of the deployment plan."""

import json
from pathlib import Path

from kit.runbook import unknown_in

BOARD = Path(__file__).parents[2] / "deploy" / "grafana" / "zmart.json"
PLAN = {
    "Event Indexer: events/min": "zmart_indexer_events_per_minute",
    "Event Indexer: parse errors": "zmart_indexer_decode_errors_total",
    "Event Indexer: database write latency": "zmart_indexer_write_seconds_bucket",
    "Vote Aggregator: votes aggregated": "zmart_votes_aggregated_total",
    "Vote Aggregator: on-chain TXs": "zmart_effects_total",
    "Vote Aggregator: threshold accuracy": "zmart_monitor_threshold_decisions",
    "Market Monitor: markets finalized": "zmart_monitor_finalized_total",
    "Market Monitor: finalization success rate": 'zmart_effects_total{action="finalize_market"',
    "Market Monitor: 48h accuracy": "zmart_monitor_lateness_seconds_bucket",
    "API Gateway: requests/sec": "zmart_gateway_requests_total",
    "API Gateway: response times": "zmart_gateway_request_seconds_bucket",
    "API Gateway: error rate": 'zmart_gateway_requests_total{status=~"5.."}',
    "WebSocket: connected clients": "zmart_websocket_connections",
    "WebSocket: messages/sec": "zmart_websocket_frames_total",
    "WebSocket: reconnection rate": "zmart_websocket_reconnected_total",
    "IPFS: snapshots/day": "zmart_snapshots_built_total",
    "IPFS: upload success rate": "zmart_snapshots_failures_total",
    "IPFS: storage used": "zmart_snapshots_storage_bytes",
}


def queries() -> list[str]:
    panels = json.loads(BOARD.read_text("utf-8"))["panels"]
    return [target["expr"] for panel in panels for target in panel.get("targets", [])]


def test_every_query_asks_for_what_the_code_has():
    assert [query for query in queries() if unknown_in(query)] == []
    assert len(queries()) > 50


def test_every_metric_of_the_plan_is_shown():
    assert [name for name, metric in PLAN.items() if not any(metric in query for query in queries())] == []


def test_every_panel_has_a_place_of_its_own_and_a_title():
    panels = json.loads(BOARD.read_text("utf-8"))["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken = set()
    for panel in panels:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert panel["title"]
        assert max(x for x, _ in cells) < 24
        assert not cells & taken, panel["title"]
        taken |= cells
