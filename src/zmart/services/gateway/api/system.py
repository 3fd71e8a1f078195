"""Answer how the backend is and what happened recently; take the webhook that tells of new transactions."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal

import msgspec
from litestar import Response, get, post
from litestar.openapi import ResponseSpec
from litestar.params import PathParameter, QueryParameter

from zmart.client.shapes import system as shapes
from zmart.client.shapes.markets import Timeline
from zmart.client.shapes.tape import Activities, Activity
from zmart.errors import Invalid
from zmart.feed import wire
from zmart.market.times import iso
from zmart.market.types import PRICE_ONE
from zmart.services import webhook
from zmart.services.gateway.api import health_report, lookup, paging, timeline
from zmart.services.gateway.api.paging import Cursor, Limit, OffsetKey
from zmart.services.gateway.api.parameters import MarketKeyInPath, MaybeMarketKey, between
from zmart.services.gateway.context import Context
from zmart.services.gateway.http.problems import GatewayRequest, problem_body
from zmart.services.gateway.http.request_context import request_context
from zmart.services.gateway.http.request_guard import LIMIT, NO_LIMIT
from zmart.services.gateway.http.responses import CHAIN
from zmart.services.gateway.openapi.declarations import refusals
from zmart.store import activity, change_feed, status
from zmart.store.change_feed import Change, Topic

_TOPICS = {
    "market_state": (Topic.MARKETS,),
    "trade": (Topic.TRADES,),
    "vote": (Topic.VOTES, Topic.ONCHAIN_VOTES),
    "discussion": (Topic.DISCUSSIONS,),
}
_TYPES = "|".join(_TOPICS)
_LATEST_S = 300
_LOOK_AGAIN_S = "5"
_KEPT = timedelta(days=7)


@get("/api/status", operation_id="GetStatus", tags=["system"])
async def api_status(context: Context) -> shapes.Status:
    """What each service last did, how far the index is, what waits."""
    return await health_report.status_of(context)


@get(
    "/health/{service:str}",
    operation_id="GetServiceHealth",
    responses={
        **refusals(404),
        503: ResponseSpec(
            shapes.ServiceHealth | shapes.Problem,
            generate_examples=False,
            description="The service is silent, or nobody can tell.",
        ),
    },
    opt={LIMIT: NO_LIMIT},
    tags=["system"],
)
async def service_health(
    context: Context, service: Annotated[str, PathParameter(enum=health_report.PUBLIC_NAMES)]
) -> Response[shapes.ServiceHealth]:
    """Whether one of the other services is alive, by what it last said itself; 503 when it is silent."""
    found = await health_report.of_service(context, service)
    if found.status == "down":
        return Response(found, status_code=503, headers={"Retry-After": _LOOK_AGAIN_S})
    return Response(found)


@get("/api/markets/activity", operation_id="GetActivity", opt={CHAIN: True}, tags=["markets"])
async def market_activity(
    context: Context,
    limit: Limit = 20,
    kind: Annotated[
        Literal["all", "trade", "vote", "discussion", "market", ""] | None, QueryParameter(name="type")
    ] = None,
) -> Activities:
    """Recent activity in all markets."""
    only = None if kind in ("", "all") else kind
    found = [
        Activity(
            id=row.id,
            type=row.type,
            user=row.wallet,
            action=row.action,
            market=row.question,
            market_id=row.market_id,
            time=iso(row.moment),
            amount=None if row.amount is None else row.amount / PRICE_ONE,
        )
        for row in await activity.newest(context.pool, paging.bounded(limit), only)
    ]
    return Activities(activities=found, count=len(found))


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
    """Every change of the market's state, in chain order, with slot, signature and who did it."""
    market_id = await lookup.market_id_of(context, lookup.market_in_path(key))
    behind = paging.key_of(cursor, OffsetKey)
    return await timeline.of(context.pool, market_id, paging.bounded(limit), behind.offset if behind else 0)


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
    ] = None,
) -> shapes.LatestEvents:
    """The messages of the WebSocket, for a client that polls. Pass `timestamp` of the answer as the next `since`."""
    market = None if not market_id else await lookup.market_id_of(context, lookup.market_in_path(market_id))
    now = datetime.now(UTC)
    start = now - timedelta(seconds=_LATEST_S) if since is None else datetime.fromtimestamp(since / 1000, UTC)
    size = min(limit, 100)
    changes = await status.changes_since(
        context.pool, max(start, now - _KEPT), _topics(types), size, market, newest=since is None
    )
    epoch = (await change_feed.head(context.pool)).epoch
    cut = since is not None and len(changes) == size
    until = changes[-1].committed_at if cut else now
    return shapes.LatestEvents(
        events=[_event(change, epoch) for change in changes],
        count=len(changes),
        since=int(start.timestamp() * 1000),
        limit=size,
        timestamp=int(until.timestamp() * 1000),
    )


def _topics(types: str | None) -> list[Topic]:
    wanted = [word.strip() for word in types.split(",")] if types else list(_TOPICS)
    if unknown := [word for word in wanted if word not in _TOPICS]:
        raise Invalid("types", f"types holds {unknown[0][:40]!r}; there are {', '.join(_TOPICS)}.")
    return [topic for word in wanted for topic in _TOPICS[word]]


def _event(change: Change, epoch: str) -> shapes.LatestEvent:
    message = wire.encode(change, epoch)
    said = msgspec.json.decode(message.payload(message.channels[0]), type=_FeedMessage)
    return shapes.LatestEvent(
        id=f"{epoch}:{change.offset}",
        type=message.type,
        market_id=change.market_id,  # type: ignore[arg-type]
        epoch=epoch,
        offset=change.offset,
        timestamp=said.timestamp,
        data=said.data,
    )


class _FeedMessage(msgspec.Struct, frozen=True):
    timestamp: str
    data: dict[str, object]


@post(
    webhook.PATH,
    status_code=200,
    opt={LIMIT: NO_LIMIT},
    request_max_body_size=None,
    include_in_schema=False,
)
async def helius(context: Context, request: GatewayRequest) -> Response[bytes]:
    """A delivery of Helius: written down, acknowledged; the indexer works on it."""
    found = request_context(request.scope)
    said = await context.webhook.receive(
        found.body, request.headers.get("authorization"), request.headers.get("x-helius-signature")
    )
    if said.status < 400:
        return Response(
            msgspec.json.encode(said.body), status_code=said.status, media_type="application/json"
        )
    text = str(said.body.get("message", ""))
    path, request_id = request.url.path, found.request_id
    return Response(
        problem_body(said.status, text, path, request_id),
        status_code=said.status,
        media_type="application/json",
        headers={} if said.retry_after is None else {"Retry-After": said.retry_after},
    )


HANDLERS = [api_status, service_health, market_activity, market_timeline, latest_events, helius]
