"""Define the shapes of the backend's state and of errors: status, health, latest events, problems."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec import UNSET, Struct, UnsetType

from zmart.client.shapes.votes import VoteTerms
from zmart.market.types import Lamports, MarketId, Slot


class FieldProblem(Struct, frozen=True, kw_only=True):
    """A field of the request and what is wrong with it."""

    field: str
    message: str


class Problem(Struct, frozen=True, kw_only=True):
    """The body of every response with a status of 400 or above."""

    error: str
    message: str
    status: int
    timestamp: str
    path: str
    request_id: str
    details: Sequence[FieldProblem] | UnsetType = UNSET


class ApiCall(Struct, frozen=True, kw_only=True):
    """A call of the API: its method, its path and a summary."""

    method: str
    path: str
    summary: str


class ApiIndex(Struct, frozen=True, kw_only=True):
    """All calls of the API, and the paths of its descriptions on this server."""

    name: str
    version: str
    documentation: str
    openapi: str
    asyncapi: str
    health: str
    status: str
    websocket: str
    calls: Sequence[ApiCall]


class ServiceState(Struct, frozen=True, kw_only=True):
    """The last report of a service's process; `status` is ok, degraded (`reason` says what waits), or down without a
    recent report."""

    service: str
    status: str
    ready: bool
    reason: str
    instance: str
    seen_at: str | None
    age_s: float | None
    details: Mapping[str, object]


class ServiceHealth(Struct, frozen=True, kw_only=True):
    """The state of one service and of its processes (`instances`)."""

    status: str
    service: str
    timestamp: str
    instances: Sequence[ServiceState]


class IndexState(Struct, frozen=True, kw_only=True):
    """The progress of the index. Through `gap_free_through_slot` no transaction is missing; `lag_slots` is how many
    slots that is behind `tip_slot`."""

    program_id: str
    gap_free_through_slot: Slot
    tip_slot: Slot
    lag_slots: int
    scanned_at: str | None


class FeedState(Struct, frozen=True, kw_only=True):
    """The change feed: its epoch, its newest offset, and the oldest one that can be replayed."""

    epoch: str
    head: int
    kept_from: int


class QueueState(Struct, frozen=True, kw_only=True):
    """The numbers of items that wait in the backend's queues, and of open alerts."""

    inbox_pending: int
    unconfirmed: int
    dead_letters: int
    intents_open: int
    intents_uncertain: int
    market_work: int
    pins_unverified: int
    alerts_open: int


class Status(Struct, frozen=True, kw_only=True):
    """The state of the backend. `version` and `commit` are those of the gateway that answers; those of the other
    services are in their details."""

    status: str
    timestamp: str
    version: str
    commit: str
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
    """A committed change, as the WebSocket sends it."""

    id: str
    type: str
    market_id: MarketId | None
    epoch: str
    offset: int
    timestamp: str
    data: Mapping[str, object]


class LatestEvents(Struct, frozen=True, kw_only=True):
    """The changes after `since` in the order of their commits; pass `timestamp` as the next `since`. Both are Unix
    times in milliseconds. With `next_cursor` there may be more changes now."""

    events: Sequence[LatestEvent]
    count: int
    since: int
    limit: int
    timestamp: int
    next_cursor: str | None = None
