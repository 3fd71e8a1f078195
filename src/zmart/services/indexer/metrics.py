"""Define the indexer's metrics."""

from __future__ import annotations

from typing import get_args

from prometheus_client import Counter, Gauge, Histogram

from zmart.market.events import AnyEvent

EVENTS = Counter("zmart_indexer_events", "events written to chain_events", ["name"])
for event in get_args(AnyEvent):
    EVENTS.labels(event.__name__)
UNKNOWN_EVENTS = Counter("zmart_indexer_decode_errors", "payloads of the program that could not be decoded")
TRANSACTIONS = Counter("zmart_indexer_transactions", "transactions settled", ["kind"])
RECOVERED = Counter(
    "zmart_indexer_recovered_events",
    "events that a truncated log lost, recovered from accounts and arguments",
)
REFOLDS = Counter("zmart_indexer_refolds", "markets folded again from their first event")
WRITE_SECONDS = Histogram(
    "zmart_indexer_write_seconds",
    "one batch, from claimed to committed",
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10),
)
VISIBLE_SECONDS = Histogram(
    "zmart_indexer_visible_seconds",
    "from a transaction's receipt to its rows being visible",
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 60),
)
TIP_SLOT = Gauge("zmart_indexer_tip_slot", "the chain's newest confirmed slot")
GAP_FREE_SLOT = Gauge("zmart_indexer_gap_free_slot", "the slot through which the index is complete")
LAG_SLOTS = Gauge("zmart_indexer_lag_slots", "tip minus gap-free slot")
INBOX_DEPTH = Gauge("zmart_indexer_inbox_depth", "transactions that wait to be settled")
INBOX_OLDEST_SECONDS = Gauge("zmart_indexer_inbox_oldest_seconds", "age of the oldest of them")
INBOX_UNPROVEN = Gauge(
    "zmart_indexer_inbox_unproven", "transactions that only hints name, not found by RPC yet"
)
DEAD_LETTERS = Gauge("zmart_indexer_dead_letters", "transactions that could not be indexed")
STUCK_MARKETS = Gauge("zmart_indexer_stuck_markets", "markets with an event that cannot be folded")
AUDIT_DIFFERENCES = Gauge(
    "zmart_indexer_audit_differences", "fields that the last audit found different from the chain"
)
SCAN_AGE_SECONDS = Gauge("zmart_indexer_scan_age_seconds", "since the chain was last listed to its tip")
EVENTS_PER_MINUTE = Gauge("zmart_indexer_events_per_minute", "events folded in the last minute")
FINAL_SLOT = Gauge("zmart_indexer_final_slot", "the chain's newest finalized slot")
ABSENT = Counter("zmart_indexer_absent_transactions", "hints of transactions that no endpoint has, deleted")
VANISHED = Counter("zmart_indexer_vanished_transactions", "confirmed transactions that left the chain")
UNCONFIRMED = Gauge("zmart_indexer_unconfirmed", "delivered transactions that our RPC has not confirmed yet")
UNCONFIRMED_OLDEST_SECONDS = Gauge("zmart_indexer_unconfirmed_oldest_seconds", "age of the oldest of them")
CONFIRMED = Counter("zmart_indexer_confirmed", "deliveries that our RPC showed the same")
CONFIRMATION_CALLS = Counter("zmart_indexer_confirmation_calls", "calls to the RPC that confirm deliveries")
FALSE_DELIVERIES = Counter("zmart_indexer_false_deliveries", "deliveries that differed from the chain")
