"""Define the metrics of the change feed's relay and readers."""

from __future__ import annotations

from prometheus_client import Counter, Gauge

from zmart.errors import Busy, ReadOnly, Unavailable

leading = Gauge("zmart_feed_relay_leading", "1 in the process that relays the feed to Redis")
relayed = Counter("zmart_feed_relayed", "Changes relayed to Redis")
relayed_offset = Gauge("zmart_feed_relayed_offset", "Last offset relayed to Redis")
fallback_polls = Counter("zmart_feed_fallback_polls", "Polls of the feed without a notification")
redis_errors = Counter("zmart_redis_errors", "Commands that Redis did not serve", ["kind"])
for kind in (Unavailable, Busy, ReadOnly):
    redis_errors.labels(kind.__name__)
read = Counter("zmart_feed_read", "Changes read for clients", ["source"])
