"""Report the state of the backend and recent changes of markets; receive the webhook with new transactions."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal, cast

import msgspec
from litestar import Response, get, post
from litestar.openapi import ResponseSpec
from litestar.params import PathParameter, QueryParameter

from zmart.client.shapes import system as shapes
from zmart.client.shapes.markets import Timeline
from zmart.client.shapes.tape import Activities, Activity
from zmart.errors import Invalid
from zmart.feed import wire
from zmart.market.amounts import short_wallet, sol_text
from zmart.market.times import iso, ms_of
from zmart.services import webhook
from zmart.services.contract import Receive, Scope
from zmart.services.gateway.api import health_report, lookup, paging, timeline
from zmart.services.gateway.api.paging import Cursor, FeedKey, Limit, OffsetKey
from zmart.services.gateway.api.parameters import MarketKeyInPath, MaybeMarketKey, between
from zmart.services.gateway.context import Context
from zmart.services.gateway.http.invalid_fields import ParameterRule
from zmart.services.gateway.http.problems import GatewayRequest
from zmart.services.gateway.http.request_context import request_context
from zmart.services.gateway.http.request_guard import LIMIT, NO_LIMIT, READS_BODY
from zmart.services.gateway.http.responses import CHAIN
from zmart.services.gateway.openapi.declarations import refusals
from zmart.services.problem_body import problem_body
from zmart.services.webhook import WebhookReceipt
from zmart.store import activity, change_feed, status
from zmart.store.change_feed import Change, Topic

_TOPICS = {
    "market_state": (Topic.MARKETS,),
    "trade": (Topic.TRADES,),
    "vote": (Topic.VOTES, Topic.ONCHAIN_VOTES),
    "discussion": (Topic.DISCUSSIONS,),
}
_TYPES = "|".join(_TOPICS)
_ACTIVITY_TYPES = {"all": activity.TYPES, "market": ("creation", "resolution")}
_LATEST_S = 300
_RETRY_AFTER_S = "5"
_MAX_AGE = timedelta(days=7)
_UNSETTLED = timedelta(seconds=2)
"""How long a commit may take to be visible after the time that it states. Messages of this time come again."""


@get("/api/status", operation_id="GetStatus", tags=["system"])
async def api_status(context: Context) -> shapes.Status:
    """Return the state of each service, the progress of the index, the lengths of queues, and the balance of the fee
    payer."""
    return await health_report.status_of(context)


@get(
    "/health/{service:str}",
    operation_id="GetServiceHealth",
    responses={
        **refusals(404),
        503: ResponseSpec(
            shapes.ServiceHealth | shapes.Problem,
            generate_examples=False,
            description="The service has not reported for 30 s, or its state is unknown.",
        ),
    },
    opt={LIMIT: NO_LIMIT},
    tags=["system"],
)
async def service_health(
    context: Context, service: Annotated[str, PathParameter(enum=health_report.PUBLIC_NAMES)]
) -> Response[shapes.ServiceHealth]:
    """Return the state of one service, by the last reports of its processes; 503 if none has reported within 30 s."""
    health = await health_report.of_service(context, service)
    if health.status == "down":
        return Response(health, status_code=503, headers={"Retry-After": _RETRY_AFTER_S})
    return Response(health)


@get("/api/markets/activity", operation_id="GetActivity", opt={CHAIN: True}, tags=["markets"])
async def market_activity(
    context: Context,
    limit: Limit = 20,
    kind: Annotated[
        Literal["all", "trade", "vote", "discussion", "creation", "resolution", "market", ""] | None,
        QueryParameter(name="type", description="market: creation and resolution"),
    ] = None,
) -> Activities:
    """List the newest activity in all markets, newest first: trades, votes, comments, new and finalized markets."""
    only = _ACTIVITY_TYPES.get(kind or "all", (kind or "all",))
    activities = [
        Activity(
            id=row.id,
            type=row.type,
            user=short_wallet(row.wallet),
            wallet=row.wallet,
            action=row.action,
            market=row.question,
            market_id=row.market_id,
            time=iso(row.moment),
            amount=None if row.amount is None else sol_text(row.amount),
            amount_lamports=row.amount,
        )
        for row in await activity.newest(context.pool, paging.bounded(limit), only)
    ]
    return Activities(activities=activities, count=len(activities))


@get(
    "/api/markets/{key:str}/timeline",
    operation_id="GetTimeline",
    responses=refusals(404),
    opt={CHAIN: True},
    tags=["markets"],
)
async def market_timeline(
    context: Context, key: MarketKeyInPath, limit: Limit = 100, cursor: Cursor = None
) -> Timeline:
    """List the events of a market's lifecycle in chain order, each with slot, signature and actor, and with the
    market's new state if it changes."""
    market_id = await lookup.market_id_of(context, lookup.market_in_path(key))
    after = paging.key_of(cursor, OffsetKey)
    return await timeline.of(context.pool, market_id, paging.bounded(limit), after.offset if after else 0)


@get("/api/events/latest", operation_id="GetLatestEvents", responses=refusals(404), tags=["system"])
async def latest_events(
    context: Context,
    market_id: MaybeMarketKey = None,
    since: Annotated[int | None, between(0, 10**14, "unix ms")] = None,
    limit: Annotated[int, between(1, description="1 to 100; more is taken as 100")] = 50,
    types: Annotated[
        str | None,
        QueryParameter(
            description="comma list: market_state,trade,vote,discussion",
            schema_extra={"pattern": f"^(({_TYPES})(,({_TYPES}))*)?$"},
        ),
        ParameterRule(lambda _, text: _topics(text)),
    ] = None,
    cursor: Cursor = None,
) -> shapes.LatestEvents:
    """List recent messages of the WebSocket, for clients that poll: those after `since`, but of the last 7 days at
    most. Without `since`, list the newest of the last 5 minutes. While the answer has a `next_cursor`, pass it as
    `cursor`; then pass `timestamp` as the next `since`. Messages of the last 2 s come again: leave out ids that you
    have seen."""
    market = None if not market_id else await lookup.market_id_of(context, lookup.market_in_path(market_id))
    after, now = paging.key_of(cursor, FeedKey), await status.clock(context.pool)
    start = now - timedelta(seconds=_LATEST_S) if since is None else datetime.fromtimestamp(since / 1000, UTC)
    size, topics = min(limit, 100), _topics(types)
    epoch = (await change_feed.head(context.pool)).epoch
    if after is None:
        changes = await status.changes_since(
            context.pool, max(start, now - _MAX_AGE), topics, size, market, newest=since is None
        )
    elif after.epoch == epoch:
        changes = await status.changes_after(context.pool, after.offset, topics, size, market)
    else:
        raise Invalid("cursor", "The feed has begun again since this cursor: start again without it.")
    is_full = (since is not None or after is not None) and len(changes) == size
    until = changes[-1].committed_at if is_full else now - _UNSETTLED
    timestamp = ms_of(until)
    if is_full and since is not None:  # goes on even behind a commit that fills a page
        timestamp = max(timestamp, since + 1)
    return shapes.LatestEvents(
        events=[_event(change, epoch) for change in changes],
        count=len(changes),
        since=ms_of(start),
        limit=size,
        timestamp=timestamp,
        next_cursor=paging.cursor_of(FeedKey(epoch, changes[-1].offset)) if is_full else None,
    )


def _topics(types: str | None) -> list[Topic]:
    names = [name.strip() for name in types.split(",")] if types else list(_TOPICS)
    if unknown := [name for name in names if name not in _TOPICS]:
        raise Invalid("types", f"types holds {unknown[0][:40]!r}; there are {', '.join(_TOPICS)}.")
    return [topic for name in names for topic in _TOPICS[name]]


def _event(change: Change, epoch: str) -> shapes.LatestEvent:
    message = wire.encode(change, epoch)
    payload = msgspec.json.decode(message.payload(message.channels[0]), type=_FeedMessage)
    return shapes.LatestEvent(
        id=f"{epoch}:{change.offset}",
        type=message.type,
        market_id=change.market_id,  # type: ignore[arg-type]
        epoch=epoch,
        offset=change.offset,
        timestamp=payload.timestamp,
        data=payload.data,
    )


class _FeedMessage(msgspec.Struct, frozen=True):
    timestamp: str
    data: dict[str, object]


@post(
    webhook.PATH,
    status_code=200,
    opt={LIMIT: NO_LIMIT, READS_BODY: True},
    include_in_schema=False,
)
async def helius(context: Context, request: GatewayRequest) -> Response[bytes]:
    """Store a webhook delivery of Helius and acknowledge it; the indexer processes it later."""
    scope = cast("Scope", request.scope)
    answer = await context.webhook.receive(scope, cast("Receive", request.receive))
    if isinstance(answer, WebhookReceipt):
        return Response(msgspec.json.encode(answer), media_type="application/json")
    path, request_id = request.scope["path"], request_context(scope).request_id
    return Response(
        problem_body(answer.status, answer.message, path, request_id),
        status_code=answer.status,
        media_type="application/json",
        headers={} if answer.retry_after is None else {"Retry-After": answer.retry_after},
    )


HANDLERS = [api_status, service_health, market_activity, market_timeline, latest_events, helius]
