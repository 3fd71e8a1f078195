"""Define the metrics of the snapshot service."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

ticks = Counter("zmart_snapshots_ticks", "Runs by outcome", ["outcome"])
tick_seconds = Histogram(
    "zmart_snapshots_tick_seconds", "Duration of a run", buckets=(0.1, 0.5, 1, 5, 15, 60, 300, 900)
)
built = Counter("zmart_snapshots_built", "Documents built and stored")
refused = Counter("zmart_snapshots_refused", "Snapshots that could not be built, one for each market and run")
pinned = Counter("zmart_snapshots_pinned", "Uploads that a provider accepted")
verified = Counter("zmart_snapshots_verified", "Pins that were read back and hashed to their CID")
failures = Counter("zmart_snapshots_failures", "Pins that could not be made or read back")
unpinned = Counter("zmart_snapshots_unpinned", "Pins removed after their retention")
documents = Counter(
    "zmart_snapshots_documents", "Attempts to fetch a market's document by outcome", ["outcome"]
)
waiting_documents = Gauge(
    "zmart_snapshots_documents_waiting", "Documents of markets that are still to be fetched"
)
storage_bytes = Gauge("zmart_snapshots_storage_bytes", "Size of all documents that are pinned now")
storage_pins = Gauge("zmart_snapshots_storage_pins", "Documents that are pinned now")
failing_pins = Gauge("zmart_snapshots_failing", "Pins not verified yet that have failed at least once")
open_pins = Gauge("zmart_snapshots_open", "Pins that are not verified yet")
