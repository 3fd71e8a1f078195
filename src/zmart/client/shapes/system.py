"""How the backend is: status, health, latest events, errors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec import UNSET, Struct, UnsetType

from zmart.client.shapes.votes import VoteTerms
from zmart.market.types import Lamports, MarketId, Slot


class FieldProblem(Struct, frozen=True, kw_only=True):
    field: str
    message: str


class Problem(Struct, frozen=True, kw_only=True):
    """The body of every answer from 400 on."""

    error: str
    message: str
    status: int
    timestamp: str
    path: str
    request_id: str
    details: Sequence[FieldProblem] | UnsetType = UNSET


class ServiceState(Struct, frozen=True, kw_only=True):
    """What a service's process last said; `status` is ok, degraded, or down when it has gone silent."""

    service: str
    status: str
    ready: bool
    reason: str
    instance: str
    seen_at: str | None
    age_s: float | None
    details: Mapping[str, object]


class ServiceHealth(Struct, frozen=True, kw_only=True):
    status: str
    service: str
    timestamp: str
    instances: Sequence[ServiceState]


class IndexState(Struct, frozen=True, kw_only=True):
    program_id: str
    gap_free_through_slot: Slot
    tip_slot: Slot
    lag_slots: int
    scanned_at: str | None


class FeedState(Struct, frozen=True, kw_only=True):
    epoch: str
    head: int
    kept_from: int


class QueueState(Struct, frozen=True, kw_only=True):
    inbox_pending: int
    unconfirmed: int
    dead_letters: int
    intents_open: int
    intents_uncertain: int
    market_work: int
    pins_unverified: int
    alerts_open: int


class Status(Struct, frozen=True, kw_only=True):
    status: str
    timestamp: str
    program_id: str
    pricing_model: str
    gap_free_through_slot: Slot | None
    lag_slots: int | None
    index: IndexState | None
    services: Sequence[ServiceState]
    service_status: Mapping[str, str]
    queues: QueueState
    feed: FeedState
    fee_payer: str | None
    fee_payer_balance: Lamports | None
    websocket_url: str
    vote_rules: Sequence[VoteTerms]
    dispute_review: str


class LatestEvent(Struct, frozen=True, kw_only=True):
    """One change, as the WebSocket would have told it."""

    id: str
    type: str
    market_id: MarketId | None
    epoch: str
    offset: int
    timestamp: str
    data: Mapping[str, object]


class LatestEvents(Struct, frozen=True, kw_only=True):
    events: Sequence[LatestEvent]
    count: int
    since: int
    limit: int
    timestamp: int
