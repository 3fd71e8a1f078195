"""Define the metrics of the market monitor."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

ticks = Counter("zmart_monitor_ticks_total", "Ticks by result", ["result"])
tick_seconds = Histogram(
    "zmart_monitor_tick_seconds", "Time from the start of a tick until its work has begun"
)
finalized = Counter("zmart_monitor_finalized_total", "Markets finalized", ["after"])
lateness_seconds = Histogram(
    "zmart_monitor_lateness_seconds",
    "Chain time from the moment when a market was due to its finalization",
    buckets=(
        *(1, 2, 5, 10, 30, 60, 120, 180, 240, 300, 330, 400, 600, 900, 1_200, 1_800, 2_400, 3_000, 3_600),
        *(7_200, 21_600, 86_400),
    ),
)
due = Gauge("zmart_monitor_due_markets", "Markets that were due at the last tick")
stuck = Gauge("zmart_monitor_stuck_markets", "Markets without progress for seven days", ["state"])
decisions = Gauge(
    "zmart_monitor_threshold_decisions",
    "Votes decided in 30 days, by whether the result is what counts and threshold demand",
    ["kind", "result"],
)
waiting = Gauge("zmart_monitor_market_work", "Markets by decision and status", ["decision", "status"])
