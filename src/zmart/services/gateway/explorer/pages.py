"""Handle the explorer's pages about markets and transactions, the search box, and the files of all pages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from litestar import Response, get
from litestar.params import FromPath, FromQuery, QueryParameter

from zmart.chain.signatures import is_signature
from zmart.errors import NotFound
from zmart.market.identifiers import parse_market
from zmart.market.text_input import search_text
from zmart.market.types import MarketId, MarketState
from zmart.services.gateway.api import lookup, paging
from zmart.services.gateway.api.paging import MarketKey
from zmart.services.gateway.context import AppContext, Context
from zmart.services.gateway.explorer import assets, market_page, sharing, site_values, transaction_page
from zmart.services.gateway.explorer.templating import page
from zmart.services.gateway.http.content_coding import accepts_gzip
from zmart.services.gateway.http.problems import GatewayRequest
from zmart.services.gateway.http.request_guard import LIMIT, NO_LIMIT
from zmart.store import change_feed, market_lists, markets
from zmart.store.markets import Filters, MarketRow, Page, Sort

_PAGE_SIZE = 24
_SORTS = {
    Sort.NEWEST: "newest",
    Sort.VOLUME: "most traded",
    Sort.ENDING: "ending soon",
    Sort.TRENDING: "trending now",
}
_BY_NAME = {sort.value: sort for sort in _SORTS}
_IMMUTABLE = "public, max-age=31536000, immutable"
_REVALIDATE = "no-cache"


@get("/", include_in_schema=False)
async def index(
    context: Context,
    market_state: Annotated[str | None, QueryParameter(name="state")] = None,
    category: FromQuery[str | None] = None,
    q: Annotated[str | None, QueryParameter(max_length=200)] = None,
    sort: FromQuery[str] = "newest",
    offset: Annotated[int, QueryParameter(ge=0, le=paging.MAX_OFFSET)] = 0,
    cursor: FromQuery[str | None] = None,
) -> Response[str]:
    """Show a page of the list of markets that match the filters."""
    filters = Filters(
        state=lookup.state_of(market_state) if market_state else None,
        category=search_text(category or "").lower() or None,
        q=search_text(q or "") or None,
    )
    order = _BY_NAME.get(sort, Sort.NEWEST)
    head = await change_feed.head(context.pool)
    rows, following = await _listed(context, filters, order, offset, cursor)
    return page(
        "index.html",
        title="Markets",
        markets=rows,
        changes=await _changes(context, rows),
        total=await markets.count(context.pool, filters, order),
        categories=await market_lists.categories(context.pool),
        states=[state.name for state in MarketState],
        chosen=_chosen(filters, order),
        sorts={item.value: label for item, label in _SORTS.items()},
        following=following,
        is_first=not offset and not cursor,
        searched=filters.q,
        head=head,
        socket=context.socket_url,
        site=await site_values.of(context),
    )


async def _listed(
    context: AppContext, filters: Filters, order: Sort, offset: int, cursor: str | None
) -> tuple[list[MarketRow], dict[str, str] | None]:
    """Return the markets of a page, and the query parameters of the next page; None without one. The trending list
    pages by offset, all others by cursor."""
    key = None if order is Sort.TRENDING else paging.key_of(cursor, MarketKey)
    at = Page(limit=_PAGE_SIZE + 1, offset=offset, after=(key.value, key.market_id) if key else None)
    rows, more = paging.split_page(await markets.page(context.pool, filters, order, at), _PAGE_SIZE)
    if not more:
        return list(rows), None
    if order is Sort.TRENDING:
        following = offset + _PAGE_SIZE
        return list(rows), {"offset": str(following)} if following <= paging.MAX_OFFSET else None
    return list(rows), {"cursor": paging.cursor_of(MarketKey(*markets.key_of(order, rows[-1])))}


async def _changes(context: AppContext, rows: Sequence[MarketRow]) -> dict[MarketId, int]:
    """Return how much the YES price of each ACTIVE market changed within 24 hours, in 1e-9."""
    traded = [row.market_id for row in rows if row.state == "ACTIVE"]
    before = await market_lists.prices_before(context.pool, traded)
    return {
        row.market_id: row.price_yes_e9 - before[row.market_id] for row in rows if row.market_id in before
    }


def _chosen(filters: Filters, order: Sort) -> dict[str, str]:
    """Return the filters and the order of this page as query parameters of a link."""
    narrowing = {"state": filters.state, "category": filters.category, "q": filters.q}
    named = {name: value for name, value in narrowing.items() if value}
    return named if order is Sort.NEWEST else {**named, "sort": order.value}


@get("/markets/{key:str}", include_in_schema=False)
async def market(
    context: Context,
    key: FromPath[str],
    trades: FromQuery[str | None] = None,
    talk: FromQuery[str | None] = None,
) -> Response[str]:
    """Show one market: price, trades, votes, timeline, comments."""
    row = await lookup.market_of(context, lookup.market_in_path(key))
    values = await market_page.values(context, row, trades, talk)
    shared = sharing.link_values(context, row)
    return page("market.html", values, shared=shared, site=await site_values.of(context))


@get("/transactions/{signature:str}", include_in_schema=False)
async def transaction(context: Context, signature: FromPath[str]) -> Response[str]:
    """Show one transaction: its status, its events, and its fee."""
    values = await transaction_page.values(context, lookup.signature_in_path(signature))
    return page("transaction.html", values, site=await site_values.of(context))


@get("/new", include_in_schema=False)
async def propose(context: Context) -> Response[str]:
    """Show a form to propose a market."""
    return page(
        "new.html",
        title="Propose a market",
        least_b=context.pricing.min_b,
        is_deposited=context.pricing.name == "reference",
        site=await site_values.of(context),
    )


@get("/find", include_in_schema=False)
async def find(context: Context, q: Annotated[str, QueryParameter(max_length=200)] = "") -> Response[str]:
    """Redirect to the market, wallet or transaction that the search box names, or list the markets that match."""
    text = search_text(q)
    target = await _named(context, text)
    if target is not None:
        return Response("", status_code=303, headers={"Location": target}, media_type="text/html")
    return await index.fn(context, q=text or None)  # type: ignore[no-any-return]  # litestar keeps fn untyped


async def _named(context: AppContext, text: str) -> str | None:
    ref = parse_market(text)
    if ref is not None:
        market_id = ref.id or await markets.id_of(context.pool, ref)
        return f"/markets/{market_id}" if market_id else f"/wallets/{ref}"
    return f"/transactions/{text}" if is_signature(text) else None


@get("/static/{path:path}", include_in_schema=False, opt={LIMIT: NO_LIMIT})
async def static(request: GatewayRequest, path: FromPath[str]) -> Response[bytes]:
    """Serve a style, script or image of the pages. Browsers may cache it for a year, because its address changes with
    its content."""
    version, _, name = path.lstrip("/").partition("/")
    accepted = ",".join(request.headers.getall("accept-encoding", []))
    file, kind = assets.content_of(name, accepts_gzip=accepts_gzip(accepted)), assets.kind_of(name)
    if file is None or kind is None:
        raise NotFound(f"There is no file {path[:60]}.")
    content, is_compressed = file
    # A page of another version, before or after an upgrade, gets the present file, which must then not be cached.
    caching = _IMMUTABLE if version == assets.version() else _REVALIDATE
    headers = {"Cache-Control": caching}
    if assets.has_codings(name):
        headers["Vary"] = "Accept-Encoding"
    if is_compressed:
        headers["Content-Encoding"] = "gzip"
    return Response(content, media_type=kind, headers=headers)


HANDLERS = [index, market, transaction, propose, find, static]
