"""Define the metrics of the WebSocket server."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

connections = Gauge("zmart_websocket_connections", "Open connections")
subscriptions = Gauge("zmart_websocket_subscriptions", "Subscriptions of all connections")
states_bytes = Gauge(
    "zmart_websocket_states_bytes", "Memory of the channels' states that new subscriptions share"
)
position = Gauge("zmart_websocket_offset", "Last offset of the change feed that was distributed")
frames = Counter("zmart_websocket_frames", "Feed messages written, counted per subscriber")
connected = Counter("zmart_websocket_connected", "Connections that were accepted")
reconnected = Counter(
    "zmart_websocket_reconnected", "Connections that resumed from an offset of an earlier one"
)
feed_age = Gauge("zmart_websocket_feed_age_seconds", "Since the change feed was last read to its end")
conflated = Counter("zmart_websocket_conflated", "Messages that a newer one replaced for a slow client")
errors = Counter("zmart_websocket_errors", "Error messages to clients", ["code"])
closed = Counter("zmart_websocket_closed", "Connections that the server closed", ["code"])
begun = Counter("zmart_websocket_subscribed", "Subscriptions by outcome", ["outcome"])
publish_s = Histogram(
    "zmart_websocket_publish_seconds",
    "Time to distribute one batch of the feed to all subscribers",
    buckets=(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1),
)
