"""Figures of the change feed's relay and readers."""

from __future__ import annotations

from prometheus_client import Counter, Gauge

leading = Gauge("zmart_feed_relay_leading", "1 in the process that carries the feed to Redis")
relayed = Counter("zmart_feed_relayed", "Changes carried to Redis")
relayed_offset = Gauge("zmart_feed_relayed_offset", "Last offset carried to Redis")
safety_looks = Counter("zmart_feed_safety_looks", "Looks at the feed without a notification")
read = Counter("zmart_feed_read", "Changes read for clients", ["source"])
