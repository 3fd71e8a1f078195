"""Define the Prometheus metrics of the stand-ins for Pinata and Helius."""

from __future__ import annotations

from prometheus_client import Counter, Gauge

PINS = Gauge("zmart_providers_pins", "files pinned now", ["network"])
PINNED_BYTES = Gauge("zmart_providers_pinned_bytes", "bytes of the files pinned now", ["network"])
REQUESTS = Counter("zmart_providers_requests", "requests answered", ["part", "status"])
HINTS = Counter(
    "zmart_providers_webhook_transactions",
    "transactions for webhooks: delivered, overflow (queue full), unfindable (the RPC does not have it), "
    "dropped (all tries failed)",
    ["outcome"],
)
POSTS = Counter("zmart_providers_webhook_posts", "posts to webhooks by response", ["answer"])
