"""Define the metrics of accepted and counted votes."""

from __future__ import annotations

from prometheus_client import Counter

from zmart.market.types import VoteKind

accepted = Counter("zmart_votes_accepted", "Votes accepted here, not on chain", ["kind"])
aggregated = Counter("zmart_votes_aggregated", "Votes in the counts that were taken for the chain", ["kind"])
for kind in VoteKind:
    accepted.labels(kind.value)
    aggregated.labels(kind.value)
