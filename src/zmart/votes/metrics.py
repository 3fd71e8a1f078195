"""Define the metrics of counted votes."""

from __future__ import annotations

from prometheus_client import Counter

aggregated = Counter("zmart_votes_aggregated", "Votes in the counts that were taken for the chain", ["kind"])
