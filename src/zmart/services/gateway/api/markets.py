"""Markets, read: the list, one of them, and short lists about them."""

from __future__ import annotations

from functools import partial
from typing import Annotated

from litestar import get
from litestar.params import FromPath, FromQuery, QueryParameter

from zmart.client.shapes import markets as shapes
from zmart.errors import NotFound, Unauthenticated
from zmart.market.types import PRICE_ONE, MarketId
from zmart.services.gateway.api import lookup, paging, serializers, vote_terms
from zmart.services.gateway.api.paging import Cursor, Limit, MarketKey, Offset, OffsetKey
from zmart.services.gateway.context import Rooms, TheRooms
from zmart.services.gateway.http.problems import GatewayRequest
from zmart.services.gateway.http.request_auth import Call, TheCall
from zmart.services.gateway.http.responses import CHAIN, PRIVATE, again, wants_text
from zmart.store import documents, market_lists, markets
from zmart.store.documents import Document
from zmart.store.markets import Filters, Page, Sort

_EMOJI = {
    "crypto": "₿", "politics": "🏛", "sports": "⚽", "science": "🔬", "technology": "💻", "entertainment": "🎬",
    "finance": "📈", "weather": "🌦",
}  # fmt: skip


@get("/api/markets", opt={CHAIN: True}, tags=["markets"])
async def list_markets(
    rooms: TheRooms,
    call: TheCall,
    request: GatewayRequest,
    market_state: Annotated[str | None, QueryParameter(name="state", description="a name, or 0-6")] = None,
    category: FromQuery[str | None] = None,
    creator: FromQuery[str | None] = None,
    q: Annotated[str | None, QueryParameter(description="full text", max_length=200)] = None,
    sort: FromQuery[Sort] = Sort.NEWEST,
    limit: Limit = 20,
    offset: Offset = 0,
    cursor: Cursor = None,
) -> shapes.Markets:
    """Markets that match, by page. `state=DRAFT` lists your own drafts."""
    wanted = None if not market_state else lookup.state_of(market_state)
    if wanted == serializers.DRAFT:
        request.scope[PRIVATE] = True  # type: ignore[literal-required]
        return await _own_drafts(rooms, call, limit)
    filters = Filters(
        state=wanted,
        category=category.strip().lower() if category else None,
        creator=lookup.wallet_in_path(creator) if creator else None,
        q=q.strip() or None if q else None,
    )
    size, skipped = paging.bounded(limit), paging.bounded_offset(offset)
    text = wants_text(request)
    return await again(request, partial(_page, rooms, filters, sort, size, skipped, cursor, text=text))


async def _page(
    rooms: Rooms, filters: Filters, sort: Sort, size: int, offset: int, cursor: str | None, *, text: bool
) -> shapes.Markets:
    after = None
    if sort is Sort.TRENDING:
        place = paging.key_of(cursor, OffsetKey)
        offset = place.offset if place else offset
    else:
        after = paging.key_of(cursor, MarketKey)
    behind = (after.value, after.market_id) if after else None
    at = Page(limit=size + 1, offset=0 if after else offset, after=behind)
    places, more = paging.cut(await markets.places(rooms.pool, filters, sort, at), size)
    following = None
    if more and places:
        by_offset = sort is Sort.TRENDING
        key = OffsetKey(offset + size) if by_offset else MarketKey(*markets.key_of_place(places[-1]))
        following = paging.cursor_of(key)
    return shapes.Markets(
        markets=await rooms.rendered.rows(
            [place.version for place in places], await rooms.policy(), text=text
        ),
        count=await rooms.counts.of(filters, sort, places[0].listed_at if places else None),
        offset=offset,
        limit=size,
        next_cursor=following,
    )


async def _own_drafts(rooms: Rooms, call: Call, limit: int) -> shapes.Markets:
    creator = await call.reader()
    if creator is None:
        raise Unauthenticated("Drafts are shown to their creator only: sign in.")
    found = await documents.drafts(rooms.pool, creator, paging.bounded(limit))
    policy = await rooms.policy()
    return shapes.Markets(
        markets=[_draft(rooms, document, policy) for document in found],
        count=len(found),
        offset=0,
        limit=paging.bounded(limit),
    )


def _draft(rooms: Rooms, document: Document, policy: serializers.Policy) -> shapes.Market:
    return serializers.draft(document, rooms.program.addresses.market(document.market_id), policy)


@get("/api/markets/{key:str}", opt={CHAIN: True}, tags=["markets"])
async def market(
    rooms: TheRooms, call: TheCall, request: GatewayRequest, key: FromPath[str]
) -> shapes.MarketDetail | shapes.Market:
    """One market, by its id or its address. A draft is shown to its creator."""
    name = lookup.key_in_path(key)
    known = await again(request, partial(_detail, rooms, name, text=wants_text(request)))
    if known is not None:
        return known
    creator = await call.reader()
    draft = await documents.draft(rooms.pool, MarketId(name), creator) if creator else None
    if draft is None:
        raise NotFound(f"There is no market {name}: it does not exist, or is not indexed yet.")
    request.scope[PRIVATE] = True  # type: ignore[literal-required]
    return _draft(rooms, draft, await rooms.policy())


async def _detail(rooms: Rooms, key: str, *, text: bool) -> shapes.MarketDetail | None:
    version = await markets.version(rooms.pool, key)
    if version is None:
        return None
    found = await vote_terms.of_market(rooms.pool, rooms.settings, version.market_id)
    return await rooms.rendered.detail(version, found, await rooms.policy(), text=text)


@get("/api/markets/trending", opt={CHAIN: True}, tags=["markets"])
async def trending(rooms: TheRooms, request: GatewayRequest, limit: Limit = 10) -> shapes.TrendingMarkets:
    """Markets by volume times traders of the last 24 hours."""
    return await again(request, partial(_trending, rooms, paging.bounded(limit)))


async def _trending(rooms: Rooms, size: int) -> shapes.TrendingMarkets:
    found = [
        shapes.TrendingMarket(
            id=row.market_id,
            question=row.question,
            yes_price=row.price_yes_e9 / PRICE_ONE,
            change24h=round((row.price_yes_e9 - row.price_before_e9) * 100 / PRICE_ONE, 4),
            volume24h=row.volume_24h / PRICE_ONE,
            unique_traders=row.wallets,
            trending_score=row.volume_24h * row.wallets / PRICE_ONE,
        )
        for row in await market_lists.trending(rooms.pool, size)
    ]
    return shapes.TrendingMarkets(trending=found, count=len(found))


@get("/api/markets/categories", opt={CHAIN: True}, tags=["markets"])
async def categories(rooms: TheRooms, request: GatewayRequest) -> shapes.Categories:
    """Categories in use, with their number of markets."""
    return await again(request, partial(_categories, rooms))


async def _categories(rooms: Rooms) -> shapes.Categories:
    found = [
        shapes.Category(
            id=row.category,
            name=row.category.capitalize(),
            count=row.markets,
            emoji=_EMOJI.get(row.category, "🔮"),
            trend=_trend(row.this_week, row.week_before),
        )
        for row in await market_lists.categories(rooms.pool)
    ]
    return shapes.Categories(categories=found, count=len(found))


def _trend(now: int, before: int) -> str:
    return "stable" if now == before else ("up" if now > before else "down")


@get("/api/markets/{key:str}/related", opt={CHAIN: True}, tags=["markets"])
async def related(rooms: TheRooms, key: FromPath[str], limit: Limit = 5) -> shapes.RelatedMarkets:
    """Markets that share tags or the category."""
    market_id = await lookup.market_id_of(rooms, lookup.key_in_path(key))
    found = [
        shapes.RelatedMarket(
            id=row.market_id,
            question=row.question,
            yes_price=row.price_yes_e9 / PRICE_ONE,
            category=row.category,
            category_match=row.same_category,
        )
        for row in await market_lists.related(rooms.pool, market_id, paging.bounded(limit))
    ]
    return shapes.RelatedMarkets(related=found, count=len(found))


@get("/api/search", opt={CHAIN: True}, tags=["markets"])
async def search(
    rooms: TheRooms, q: Annotated[str, QueryParameter(max_length=200)], limit: Limit = 20
) -> shapes.SearchResult:
    """Markets that match the words, the best first; nothing matches no words."""
    words = q.strip()
    ranked = await market_lists.search(rooms.pool, words, paging.bounded(limit))
    rows = await markets.several(rooms.pool, [market_id for market_id, _ in ranked])
    policy = await rooms.policy()
    found = [
        serializers.found_market(rows[market_id], rank, policy)
        for market_id, rank in ranked
        if market_id in rows
    ]
    return shapes.SearchResult(markets=found, count=len(found), q=words)


HANDLERS = [list_markets, trending, categories, market, related, search]
