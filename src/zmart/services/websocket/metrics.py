"""Figures of the WebSocket server."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

connections = Gauge("zmart_websocket_connections", "Open connections")
subscriptions = Gauge("zmart_websocket_subscriptions", "Subscriptions of all connections")
position = Gauge("zmart_websocket_offset", "Last offset of the change feed that was published")
frames = Counter("zmart_websocket_frames", "Feed messages written, times their readers")
conflated = Counter("zmart_websocket_conflated", "Messages that a newer one replaced for a slow reader")
errors = Counter("zmart_websocket_errors", "Error messages to clients", ["code"])
closed = Counter("zmart_websocket_closed", "Connections that the server closed", ["code"])
begun = Counter("zmart_websocket_subscribed", "Subscriptions by how they began", ["outcome"])
publish_s = Histogram(
    "zmart_websocket_publish_seconds",
    "Time to hand one batch of the feed to all readers",
    buckets=(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1),
)
