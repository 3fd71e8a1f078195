"""Handle reads of markets: the list, one market, search, and short lists such as trending markets and categories."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Annotated

from litestar import Router, get
from litestar.params import FromQuery, QueryParameter

from zmart.client.shapes import markets as shapes
from zmart.errors import NotFound, Unauthenticated
from zmart.market.identifiers import MarketRef
from zmart.market.text_input import search_text
from zmart.market.types import PRICE_ONE
from zmart.services.gateway.api import lookup, paging, serializers
from zmart.services.gateway.api.market_creation import create_market
from zmart.services.gateway.api.paging import Cursor, Limit, MarketKey, Offset, OffsetKey
from zmart.services.gateway.api.parameters import MarketKeyInPath, MaybeWallet
from zmart.services.gateway.context import AppContext, Context
from zmart.services.gateway.http.problems import GatewayRequest
from zmart.services.gateway.http.recent_changes import ResponseRows
from zmart.services.gateway.http.request_auth import Auth, RequestAuth
from zmart.services.gateway.http.request_context import request_context
from zmart.services.gateway.http.responses import (
    CHAIN,
    ApiResponse,
    Encoded,
    cacheable,
    encoded_around,
    wants_text,
)
from zmart.services.gateway.http.security import PUBLIC_OR_WALLET
from zmart.services.gateway.openapi.declarations import LINKS, lead_to, refusals
from zmart.store import documents, market_lists, market_voting, markets
from zmart.store.documents import Document
from zmart.store.markets import Filters, ListEntry, Page, Sort

_OF_A_MARKET = (
    "GetMarket", "GetTrades", "GetStats", "GetCandles", "GetHolders", "GetTimeline", "GetMarketVotes", "GetVotes",
)  # fmt: skip
_EMOJI = {
    "crypto": "₿", "politics": "🏛", "sports": "⚽", "science": "🔬", "technology": "💻", "entertainment": "🎬",
    "finance": "📈", "weather": "🌦",
}  # fmt: skip


@get(
    "/",
    operation_id="ListMarkets",
    security=PUBLIC_OR_WALLET,
    responses=refusals(401, 404),
    opt={
        CHAIN: True,
        LINKS: {
            **lead_to(*_OF_A_MARKET, key="$response.body#/markets/0/id"),
            **lead_to("GetUser", wallet="$response.body#/markets/0/creator"),
            **lead_to("ListMarkets", cursor="$response.body#/next_cursor"),
        },
    },
)
async def list_markets(
    context: Context,
    auth: Auth,
    request: GatewayRequest,
    market_state: lookup.StateInQuery = None,
    category: FromQuery[str | None] = None,
    creator: MaybeWallet = None,
    q: Annotated[str | None, QueryParameter(description="full text", max_length=200)] = None,
    sort: FromQuery[Sort] = Sort.NEWEST,
    limit: Limit = 20,
    offset: Offset = 0,
    cursor: Cursor = None,
) -> ApiResponse[shapes.Markets]:
    """List the markets that match all given filters, by page. `state=DRAFT` lists your own drafts instead."""
    chosen = None if not market_state else lookup.state_of(market_state)
    if chosen == serializers.DRAFT:
        request_context(request.scope).is_private = True
        return ApiResponse(await _own_drafts(context, auth, limit))
    filters = Filters(
        state=chosen,
        category=search_text(category).lower() if category else None,
        creator=lookup.wallet_in_path(creator) if creator else None,
        q=search_text(q) or None if q else None,
    )
    size, skipped = paging.bounded(limit), paging.bounded_offset(offset)
    text = wants_text(request)
    read = partial(_page, context, filters, sort, size, skipped, cursor, text=text)
    return ApiResponse(await cacheable(request, read))


async def _page(
    context: AppContext,
    filters: Filters,
    sort: Sort,
    size: int,
    offset: int,
    cursor: str | None,
    *,
    text: bool,
) -> Encoded[shapes.Markets]:
    after = None
    if sort is Sort.TRENDING:
        entry = paging.key_of(cursor, OffsetKey)
        offset = entry.offset if entry else offset
    else:
        after = paging.key_of(cursor, MarketKey)
    key_after = (after.value, after.market_id) if after else None
    at = Page(limit=size + 1, offset=0 if after else offset, after=key_after)
    entries, more = paging.split_page(await markets.entries(context.pool, filters, sort, at), size)
    following = None
    if more and entries and sort is Sort.TRENDING:
        following = paging.cursor_at(offset + size)
    elif more and entries:
        following = paging.cursor_of(MarketKey(*markets.key_of_entry(entries[-1])))
    return encoded_around(
        shapes.Markets,
        _rows_of(filters, sort, entries),
        markets=await context.fragments.rows(
            [entry.version for entry in entries], await context.policy(), text=text
        ),
        count=await context.market_counts.of(
            filters, sort, entries[0].market_list_offset if entries else None
        ),
        offset=offset,
        limit=size,
        next_cursor=following,
    )


def _rows_of(filters: Filters, sort: Sort, entries: Sequence[ListEntry]) -> ResponseRows | None:
    """Return the rows on which a page of the list depends; None if its filters or its order make it depend on rows of
    other markets, too."""
    if sort is not Sort.NEWEST or filters.category is not None or filters.q is not None:
        return None
    return ResponseRows(tuple(entry.version.market_id for entry in entries), of_market_list=True)


async def _own_drafts(context: AppContext, auth: RequestAuth, limit: int) -> shapes.Markets:
    creator = await auth.reader()
    if creator is None:
        raise Unauthenticated("Drafts are visible to their creator only.")
    drafts = await documents.drafts(context.pool, creator, paging.bounded(limit))
    policy = await context.policy()
    return shapes.Markets(
        markets=[_draft(context, document, policy) for document in drafts],
        count=len(drafts),
        offset=0,
        limit=paging.bounded(limit),
    )


def _draft(context: AppContext, document: Document, policy: serializers.FinalizationPolicy) -> shapes.Market:
    return serializers.draft(document, context.program.addresses.market(document.market_id), policy)


@get(
    "/{key:str}",
    operation_id="GetMarket",
    security=PUBLIC_OR_WALLET,
    responses=refusals(404),
    opt={CHAIN: True},
)
async def market(
    context: Context, auth: Auth, request: GatewayRequest, key: MarketKeyInPath
) -> ApiResponse[shapes.MarketDetail | shapes.Market]:
    """Return a market, by its id or its address. A draft is visible to its creator only."""
    ref = lookup.market_in_path(key)
    known = await cacheable(request, partial(_detail, context, ref, text=wants_text(request)))
    if known is not None:
        return ApiResponse(known)
    creator = await auth.reader()
    draft = await documents.draft(context.pool, ref.id, creator) if ref.id and creator else None
    if draft is None:
        raise NotFound(f"There is no market {ref}: it does not exist, or is not indexed yet.")
    request_context(request.scope).is_private = True
    return ApiResponse(_draft(context, draft, await context.policy()))


async def _detail(context: AppContext, ref: MarketRef, *, text: bool) -> Encoded[shapes.MarketDetail] | None:
    known = await market_voting.with_version(context.pool, ref)
    if known is None:
        return None
    version, voting = known
    return await context.fragments.detail(version, voting, await context.policy(), text=text)


@get("/trending", operation_id="GetTrending", opt={CHAIN: True})
async def trending(context: Context, request: GatewayRequest, limit: Limit = 10) -> shapes.TrendingMarkets:
    """List the markets with the highest product of volume and number of traders in the last 24 hours."""
    return await cacheable(request, partial(_trending, context, paging.bounded(limit)))


async def _trending(context: AppContext, size: int) -> shapes.TrendingMarkets:
    items = [
        shapes.TrendingMarket(
            id=row.market_id,
            question=row.question,
            yes_price=row.price_yes_e9 / PRICE_ONE,
            change24h=round((row.price_yes_e9 - row.price_before_e9) * 100 / PRICE_ONE, 4),
            volume24h=row.volume_24h / PRICE_ONE,
            unique_traders=row.wallets,
            trending_score=row.volume_24h * row.wallets / PRICE_ONE,
        )
        for row in await market_lists.trending(context.pool, size)
    ]
    return shapes.TrendingMarkets(trending=items, count=len(items))


@get("/categories", operation_id="GetCategories", opt={CHAIN: True})
async def categories(context: Context, request: GatewayRequest) -> shapes.Categories:
    """List the categories in use with their numbers of markets, the largest category first."""
    return await cacheable(request, partial(_categories, context))


async def _categories(context: AppContext) -> shapes.Categories:
    items = [
        shapes.Category(
            id=row.category,
            name=row.category.capitalize(),
            count=row.markets,
            emoji=_EMOJI.get(row.category, "🔮"),
            trend=_growth(row.markets, row.this_week),
        )
        for row in await market_lists.categories(context.pool)
    ]
    return shapes.Categories(categories=items, count=len(items))


def _growth(markets: int, new: int) -> str:
    before = markets - new
    return f"+{new * 100 // before if before else 100}%"


@get("/{key:str}/related", operation_id="GetRelated", responses=refusals(404), opt={CHAIN: True})
async def related(context: Context, key: MarketKeyInPath, limit: Limit = 5) -> shapes.RelatedMarkets:
    """List markets related to a market. Those open for trading come first; among them those with most tags in common,
    then those of the same category, then the newest."""
    market_id = await lookup.market_id_of(context, lookup.market_in_path(key))
    items = [
        shapes.RelatedMarket(
            id=row.market_id,
            question=row.question,
            yes_price=row.price_yes_e9 / PRICE_ONE,
            category=row.category,
            category_match=row.same_category,
        )
        for row in await market_lists.related(context.pool, market_id, paging.bounded(limit))
    ]
    return shapes.RelatedMarkets(related=items, count=len(items))


@get("/api/search", operation_id="GetSearch", opt={CHAIN: True}, tags=["markets"])
async def search(
    context: Context, q: Annotated[str, QueryParameter(max_length=200)], limit: Limit = 20
) -> shapes.SearchResult:
    """Search markets by full text, the best match first. An empty query matches none."""
    query = search_text(q)
    ranked = await market_lists.search(context.pool, query, paging.bounded(limit))
    rows = await markets.several(context.pool, [market_id for market_id, _ in ranked])
    policy = await context.policy()
    items = [
        serializers.search_hit(rows[market_id], rank, policy)
        for market_id, rank in ranked
        if market_id in rows
    ]
    return shapes.SearchResult(markets=items, count=len(items), q=query)


ROUTER = Router(
    "/api/markets",
    route_handlers=[list_markets, create_market, trending, categories, market, related],
    tags=["markets"],
)
