"""Example of the answer about the backend's state."""

from __future__ import annotations

from msgspec import Struct

from zmart.client.shapes import system
from zmart.market.types import Lamports, Slot
from zmart.services.gateway.openapi.answers import scenario
from zmart.services.gateway.openapi.answers.markets import RULES

_NAMES = ("indexer", "aggregator", "monitor", "websocket", "snapshots", "gateway")
_INDEX = system.IndexState(
    program_id=scenario.PROGRAM,
    gap_free_through_slot=Slot(1_400),
    tip_slot=Slot(1_402),
    lag_slots=2,
    scanned_at=scenario.TRADED,
)
_MONITOR = system.ServiceState(
    service="monitor",
    status="ok",
    ready=True,
    reason="",
    instance="monitor-1",
    seen_at=scenario.TRADED,
    age_s=1.2,
    details={"version": "0.1.0"},
)
_QUEUES = system.QueueState(
    inbox_pending=0, unconfirmed=0, dead_letters=0, intents_open=0, intents_uncertain=0, market_work=0,
    pins_unverified=0, alerts_open=0,
)  # fmt: skip
_STATUS = system.Status(
    status="ok",
    timestamp=scenario.TRADED,
    version="0.1.0",
    commit="1ba69154194f",
    program_id=scenario.PROGRAM,
    pricing_model="reference",
    gap_free_through_slot=_INDEX.gap_free_through_slot,
    lag_slots=_INDEX.lag_slots,
    index=_INDEX,
    services=[_MONITOR],
    service_status=dict.fromkeys(_NAMES, "ok"),
    queues=_QUEUES,
    feed=system.FeedState(epoch="92c4b7d5-c5e9-4743-8ef3-775ee49fe2d0", head=143, kept_from=1),
    fee_payer=scenario.CREATOR,
    fee_payer_balance=Lamports(5_000_000_000),
    websocket_url="ws://127.0.0.1:4001",
    vote_rules=RULES,
    dispute_review="auto",
)

_CHANGE = system.LatestEvent(
    id=f"{_STATUS.feed.epoch}:{_STATUS.feed.head}",
    type="trade",
    market_id=scenario.MARKET,
    epoch=_STATUS.feed.epoch,
    offset=_STATUS.feed.head,
    timestamp=scenario.TRADED,
    data={"action": "created"},
)
_INDEX_OF_CALLS = system.ApiIndex(
    name="ZMART gateway",
    version=_STATUS.version,
    documentation="/docs",
    openapi="/api/openapi.json",
    asyncapi="/asyncapi.json",
    health="/health",
    status="/api/status",
    websocket=_STATUS.websocket_url,
    calls=[system.ApiCall(method="GET", path="/api/markets", summary="List the markets.")],
)

ANSWERS: list[Struct] = [
    _STATUS,
    _INDEX_OF_CALLS,
    system.ServiceHealth(status="ok", service="monitor", timestamp=scenario.TRADED, instances=[_MONITOR]),
    system.LatestEvents(
        events=[_CHANGE], count=1, since=1_768_485_600_000, limit=100, timestamp=1_768_485_900_000
    ),
]
