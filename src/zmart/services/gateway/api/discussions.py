"""Handle comments on markets, and list the pinned snapshots of comments."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from litestar import Router, delete, get, post

from zmart.client.shapes import people as shapes
from zmart.errors import Forbidden, NotFound
from zmart.market.identifiers import MarketRef
from zmart.market.times import iso
from zmart.services.gateway.api import lookup, paging, schemas, serializers, text_quotas
from zmart.services.gateway.api.paging import Cursor, Limit, Offset, TimeKey
from zmart.services.gateway.api.parameters import CommentInPath, MarketKeyInPath
from zmart.services.gateway.context import AppContext, Context
from zmart.services.gateway.http.rate_limiting import within_quotas
from zmart.services.gateway.http.request_auth import Auth, RequestAuth
from zmart.services.gateway.http.request_guard import LIMIT
from zmart.services.gateway.http.responses import CHAIN
from zmart.services.gateway.http.security import WALLET
from zmart.services.gateway.openapi.declarations import A_MARKET, LINKS, example, lead_to, refusals
from zmart.services.request_body import RequestBody
from zmart.store import discussions


class NewComment(RequestBody, frozen=True, kw_only=True):
    """A comment on the market in the path. `content` has 1 to 1000 characters. `market_id` may be omitted; if it is
    given, it must name the same market. `parent_id` is the id of the comment that is answered, if any."""

    content: schemas.Content
    market_id: schemas.MarketKeyText | None = None
    parent_id: UUID | None = None


class CommentOnMarket(NewComment, frozen=True, kw_only=True):
    """A comment on the market `market_id`. `content` has 1 to 1000 characters. `parent_id` is the id of the comment
    that is answered, if any."""

    market_id: schemas.MarketKeyText


_A_COMMENT = example(market_id=A_MARKET, content="It froze in 1963.")
_A_COMMENT_THERE = example(content="It froze in 1963.")
_TO_DELETE = lead_to("DeleteComment", key="$response.body#/discussion/id")
_TO_ALL = lead_to("GetDiscussions", key="$response.body#/discussion/market_id")


@get("/{key:str}", operation_id="GetDiscussions", responses=refusals(404), opt={CHAIN: True})
async def market_discussions(
    context: Context, key: MarketKeyInPath, limit: Limit = 50, offset: Offset = 0, cursor: Cursor = None
) -> shapes.Discussions:
    """List a market's comments, newest first, without deleted ones. `count` is their number on all pages."""
    market_id = await lookup.market_id_of(context, lookup.market_in_path(key))
    size, after = paging.bounded(limit), paging.key_of(cursor, TimeKey)
    comments = await discussions.of_market(
        context.pool,
        market_id,
        size + 1,
        paging.bounded_offset(offset),
        (after.moment, after.id) if after else None,
    )
    rows, more = paging.split_page(comments, size)
    return shapes.Discussions(
        discussions=[serializers.comment(row) for row in rows],
        count=await discussions.count(context.pool, market_id),
        market_id=market_id,
        next_cursor=paging.cursor_of(TimeKey(rows[-1].created_at, rows[-1].id)) if more and rows else None,
    )


@get("/{key:str}/snapshots", operation_id="GetSnapshots", responses=refusals(404), opt={CHAIN: True})
async def snapshots(
    context: Context, key: MarketKeyInPath, limit: Limit = 50, offset: Offset = 0
) -> shapes.DiscussionSnapshots:
    """List the pinned snapshots of a market's comments, newest first, including those that were unpinned later."""
    market_id = await lookup.market_id_of(context, lookup.market_in_path(key))
    pinned = await discussions.snapshots(
        context.pool, market_id, paging.bounded(limit), paging.bounded_offset(offset)
    )
    snapshot_list = [
        shapes.DiscussionSnapshot(
            cid=row.cid,
            date=row.snapshot_day.isoformat(),
            comments=row.comments_count,
            previous_cid=row.previous_cid,
            size_bytes=row.size_bytes,
            provider=row.provider,
            pinned_at=iso(row.pinned_at),
            verified_at=iso(row.verified_at),
            unpin_after=iso(row.unpin_after),
            unpinned_at=iso(row.unpinned_at),
        )
        for row in pinned
    ]
    return shapes.DiscussionSnapshots(snapshots=snapshot_list, count=len(snapshot_list), market_id=market_id)


@post(
    "/",
    operation_id="Comment",
    security=WALLET,
    responses=refusals(404),
    opt={LIMIT: "comments", LINKS: _TO_DELETE | _TO_ALL},
)
async def post_comment(
    context: Context, auth: Auth, data: Annotated[CommentOnMarket, _A_COMMENT]
) -> shapes.DiscussionAnswer:
    """Write a comment on the market that the body names. Limits for a day: 500 comments of a wallet, 5000 of all
    wallets of one address, 10000 on one market by wallets without a part in it. Beyond them the answer is 429 with
    Retry-After."""
    return await _comment(context, auth, lookup.market_in_body(data.market_id), data)


@post(
    "/{key:str}",
    operation_id="CommentOn",
    security=WALLET,
    responses=refusals(404),
    opt={LIMIT: "comments", LINKS: _TO_DELETE},
)
async def post_comment_on(
    context: Context, auth: Auth, key: MarketKeyInPath, data: Annotated[NewComment, _A_COMMENT_THERE]
) -> shapes.DiscussionAnswer:
    """Write a comment on the market in the path. Limits for a day: 500 comments of a wallet, 5000 of all wallets of one
    address, 10000 on one market by wallets without a part in it. Beyond them the answer is 429 with Retry-After."""
    named = {"key": lookup.market_in_path(key)}
    if data.market_id is not None:
        named["market_id"] = lookup.market_in_body(data.market_id)
    return await _comment(context, auth, lookup.one_market(context, named), data)


async def _comment(
    context: AppContext, auth: RequestAuth, ref: MarketRef, data: NewComment
) -> shapes.DiscussionAnswer:
    wallet = await auth.wallet()
    market_id = await lookup.market_id_of(context, ref)
    if data.parent_id is not None:
        parent = await discussions.one(context.pool, data.parent_id)
        if parent is None or parent.market_id != market_id:
            raise NotFound("The comment in parent_id does not exist in this market.")
    uses = await text_quotas.uses_of_comment(context, wallet, auth.request.client, market_id)
    async with within_quotas(context.limiter, *uses):
        row = await discussions.add(context.pool, market_id, wallet, data.content, data.parent_id)
    return shapes.DiscussionAnswer(message="Comment created", discussion=serializers.comment(row))


@delete(
    "/{key:str}",
    status_code=200,
    operation_id="DeleteComment",
    security=WALLET,
    responses=refusals(403, 404),
    opt={LIMIT: "comments"},
)
async def delete_comment(context: Context, auth: Auth, key: CommentInPath) -> shapes.Message:
    """Delete your own comment. Snapshots that are made later contain the time of its deletion instead of its
    content."""
    named = lookup.comment_in_path(key)
    wallet = await auth.wallet()
    comment = await discussions.one(context.pool, named)
    if comment is None:
        raise NotFound("There is no such comment, or it is deleted already.")
    if comment.wallet != wallet:
        raise Forbidden(
            f"A comment is deleted by its author only: sign in with {comment.wallet}, not {wallet}."
        )
    if await discussions.delete(context.pool, named, wallet) is None:
        raise NotFound("There is no such comment, or it is deleted already.")
    return shapes.Message(message="Comment deleted")


ROUTER = Router(
    "/api/discussions",
    route_handlers=[market_discussions, snapshots, post_comment, post_comment_on, delete_comment],
    tags=["discussions"],
)
