"""Define the vote aggregator's metrics."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

ticks = Counter("zmart_aggregator_ticks_total", "Ticks by how they ended", ["result"])
tick_seconds = Histogram("zmart_aggregator_tick_seconds", "From the start of a tick until its work was begun")
tallies = Counter("zmart_aggregator_tallies_total", "Counts that were taken for the chain", ["kind"])
decided = Counter("zmart_aggregator_decided_total", "Proposals that came to their end", ["verdict"])
pending_votes = Gauge("zmart_aggregator_pending_votes", "Votes that no decision has used yet")
