"""Answer the four requests that the former front end sends to Supabase's REST interface. Nothing is stored, because
these requests do not prove who sends them. The routes exist only if SUPABASE_FACADE is on."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec
from litestar import Response, get, patch, post
from litestar.params import FromQuery, JSONBody, QueryParameter

from zmart.errors import Invalid
from zmart.market.times import iso, now_iso
from zmart.market.types import Wallet
from zmart.services.gateway.api import lookup
from zmart.services.gateway.context import Context
from zmart.services.gateway.http.problems import GatewayRequest
from zmart.store import discussions, markets, users
from zmart.store.discussions import CommentRow

_NEWEST = 200
_EQUAL = "eq."
_NEWEST_FIRST = "created_at.desc"
_ONE_ROW = "application/vnd.pgrst.object+json"
"""PostgREST's media type of an answer that is one row instead of a list; `.single()` of supabase-js requests it."""
_WITH_ROW = "return=representation"
_USERS, _DISCUSSIONS = "/rest/v1/users", "/rest/v1/discussions"


class RowCount(msgspec.Struct, frozen=True):
    """A row of the answer to `select=count`: how many rows the table has."""

    count: int


class SupabaseUser(msgspec.Struct, frozen=True, kw_only=True):
    """A row of the former table `users`. `reputation_score` is always None: it is no longer computed."""

    wallet: Wallet
    created_at: str
    last_seen_at: str
    twitter_handle: str | None
    reputation_score: int | None = None


class SupabaseDiscussion(msgspec.Struct, frozen=True, kw_only=True):
    """A row of the former table `discussions`. `upvotes` is always None: comments have no votes."""

    discussion_id: str
    market_id: str
    wallet: Wallet
    content: str
    parent_id: str | None
    created_at: str
    upvotes: int | None = None


class UserUpsert(msgspec.Struct, frozen=True):
    """The row of a wallet that a front end inserts or updates when the wallet connects. Fields other than `wallet` are
    ignored."""

    wallet: Annotated[str, msgspec.Meta(min_length=1, max_length=44)]


@get(_USERS, include_in_schema=False)
async def users_count(context: Context, select: FromQuery[str | None] = None) -> list[RowCount]:
    """Return how many wallets have a profile. Raises Invalid for any other query than `select=count`."""
    if select != "count":
        raise Invalid(
            "select", "Only select=count is answered here: GET /api/users/{wallet} has the profile."
        )
    return [RowCount(await users.number(context.pool))]


@post(_USERS, include_in_schema=False)
async def upsert_user(context: Context, request: GatewayRequest, data: JSONBody[UserUpsert]) -> Response[Any]:
    """Answer 201 as if the wallet's row had been inserted or updated. The row is returned only if the header Prefer
    contains return=representation; the body is empty otherwise, as that of PostgREST."""
    wallet = lookup.wallet_in_body(data.wallet)
    profile = await users.profile(context.pool, wallet)
    row = SupabaseUser(
        wallet=wallet,
        created_at=iso(profile.created_at if profile else datetime.now(UTC)),
        last_seen_at=now_iso(),
        twitter_handle=profile.twitter_handle if profile else None,
    )
    if _WITH_ROW not in request.headers.get("prefer", ""):
        return Response(b"", status_code=201)
    if _ONE_ROW in request.headers.get("accept", ""):
        return Response(msgspec.json.encode(row), status_code=201, media_type=_ONE_ROW)
    return Response([row], status_code=201)


@patch(_USERS, include_in_schema=False, status_code=204)
async def note_seen(wallet: FromQuery[str]) -> None:
    """Accept the time at which a wallet was last seen, without storing it. Raises Invalid for an invalid wallet."""
    lookup.wallet_in_body(_equal_to("wallet", wallet))


@get(_DISCUSSIONS, include_in_schema=False)
async def market_comments(
    context: Context,
    market: Annotated[str, QueryParameter(name="market_id")],
    order: FromQuery[str] = _NEWEST_FIRST,
) -> list[SupabaseDiscussion]:
    """List the newest 200 comments of a market, newest first; none for a market that is not indexed."""
    if order != _NEWEST_FIRST:
        raise Invalid("order", f"Only order={_NEWEST_FIRST} is answered here: GET /api/discussions/{{key}}.")
    ref = lookup.market_in_body(_equal_to("market_id", market))
    market_id = await markets.id_of(context.pool, ref)
    rows = [] if market_id is None else await discussions.of_market(context.pool, market_id, _NEWEST)
    return [_discussion(row) for row in rows]


def _discussion(row: CommentRow) -> SupabaseDiscussion:
    return SupabaseDiscussion(
        discussion_id=str(row.id),
        market_id=row.market_id,
        wallet=row.wallet,
        content=row.content,
        parent_id=None if row.parent_id is None else str(row.parent_id),
        created_at=iso(row.created_at),
    )


def _equal_to(field: str, condition: str) -> str:
    """Return the value in a PostgREST filter for equality, "eq." and a value. Raises Invalid for any other filter."""
    if not condition.startswith(_EQUAL):
        raise Invalid(field, f"{field} must be {_EQUAL} and a value.")
    return condition[len(_EQUAL) :]


HANDLERS = [users_count, upsert_user, note_seen, market_comments]
