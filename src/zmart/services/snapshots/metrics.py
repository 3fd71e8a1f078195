"""Figures of the snapshot service."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

ticks = Counter("zmart_snapshots_ticks", "Runs by how they went", ["outcome"])
tick_seconds = Histogram(
    "zmart_snapshots_tick_seconds", "How long a run took", buckets=(0.1, 0.5, 1, 5, 15, 60, 300, 900)
)
built = Counter("zmart_snapshots_built", "Documents written down")
pinned = Counter("zmart_snapshots_pinned", "Uploads that a provider took")
verified = Counter("zmart_snapshots_verified", "Pins that were read back and hashed to their CID")
failures = Counter("zmart_snapshots_failures", "Pins that could not be made or read back")
unpinned = Counter("zmart_snapshots_unpinned", "Pins that were given up after their time")
texts = Counter("zmart_snapshots_texts", "Attempts to fetch a market's text by how they ended", ["outcome"])
waiting_texts = Gauge("zmart_snapshots_texts_waiting", "Texts of markets that are still to be fetched")
open_pins = Gauge("zmart_snapshots_open", "Pins that are not proven yet")
