"""Define the metrics of the change feed's relay and readers."""

from __future__ import annotations

from prometheus_client import Counter, Gauge

leading = Gauge("zmart_feed_relay_leading", "1 in the process that relays the feed to Redis")
relayed = Counter("zmart_feed_relayed", "Changes relayed to Redis")
relayed_offset = Gauge("zmart_feed_relayed_offset", "Last offset relayed to Redis")
fallback_polls = Counter("zmart_feed_fallback_polls", "Polls of the feed without a notification")
read = Counter("zmart_feed_read", "Changes read for clients", ["source"])
