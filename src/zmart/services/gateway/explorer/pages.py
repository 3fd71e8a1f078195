"""The explorer's pages."""

from __future__ import annotations

from typing import Annotated

from litestar import Response, get
from litestar.params import FromPath, FromQuery, QueryParameter

from zmart.chain.signatures import is_signature
from zmart.errors import NotFound
from zmart.market.identifiers import parse_market
from zmart.market.types import MarketState
from zmart.services.gateway.api import lookup, paging
from zmart.services.gateway.api.paging import MarketKey
from zmart.services.gateway.context import AppContext, Context
from zmart.services.gateway.explorer import assets, market_page, transaction_page, wallet_page
from zmart.services.gateway.explorer.templating import page
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
    """All markets."""
    filters = Filters(
        state=lookup.state_of(market_state) if market_state else None,
        category=category or None,
        q=(q or "").strip() or None,
    )
    order = _BY_NAME.get(sort, Sort.NEWEST)
    head = await change_feed.head(context.pool)
    found, following = await _listed(context, filters, order, offset, cursor)
    return page(
        "index.html",
        title="Markets",
        markets=found,
        total=await markets.count(context.pool, filters, order),
        categories=await market_lists.categories(context.pool),
        states=[state.name for state in MarketState],
        chosen=_chosen(filters, order),
        sorts={item.value: words for item, words in _SORTS.items()},
        following=following,
        is_first=not offset and not cursor,
        searched=filters.q,
        head=head,
        socket=context.socket_url,
        local=demo_wallet(context),
    )


async def _listed(
    context: AppContext, filters: Filters, order: Sort, offset: int, cursor: str | None
) -> tuple[list[MarketRow], dict[str, str] | None]:
    """The page of the list, and what names the next one; by what trends there is no key that stays."""
    key = None if order is Sort.TRENDING else paging.key_of(cursor, MarketKey)
    at = Page(limit=_PAGE_SIZE + 1, offset=offset, after=(key.value, key.market_id) if key else None)
    found, more = paging.cut(await markets.page(context.pool, filters, order, at), _PAGE_SIZE)
    if not more:
        return list(found), None
    if order is Sort.TRENDING:
        return list(found), {"offset": str(offset + _PAGE_SIZE)}
    return list(found), {"cursor": paging.cursor_of(MarketKey(*markets.key_of(order, found[-1])))}


def _chosen(filters: Filters, order: Sort) -> dict[str, str]:
    """What narrows the list now, as the parameters of an address."""
    wanted = {"state": filters.state, "category": filters.category, "q": filters.q}
    named = {name: value for name, value in wanted.items() if value}
    return named if order is Sort.NEWEST else {**named, "sort": order.value}


@get("/markets/{key:str}", include_in_schema=False)
async def market(
    context: Context,
    key: FromPath[str],
    trades: FromQuery[str | None] = None,
    talk: FromQuery[str | None] = None,
) -> Response[str]:
    """One market: price, tape, votes, life, talk."""
    row = await lookup.market_of(context, lookup.market_in_path(key))
    values = await market_page.values(context, row, trades, talk)
    return page("market.html", values, local=demo_wallet(context))


@get("/wallets/{wallet:str}", include_in_schema=False)
async def wallet_of(
    context: Context, wallet: FromPath[str], trades: FromQuery[str | None] = None
) -> Response[str]:
    """One wallet: what it holds, made and did."""
    who = lookup.wallet_in_path(wallet)
    return page("wallet.html", await wallet_page.values(context, who, trades), local=demo_wallet(context))


@get("/transactions/{signature:str}", include_in_schema=False)
async def transaction(context: Context, signature: FromPath[str]) -> Response[str]:
    """One transaction: what became of it and what it did to markets."""
    values = await transaction_page.values(context, lookup.signature_in_path(signature))
    return page("transaction.html", values, local=demo_wallet(context))


@get("/find", include_in_schema=False)
async def find(context: Context, q: Annotated[str, QueryParameter(max_length=200)] = "") -> Response[str]:
    """Where the search box leads: a market, a wallet, a transaction, or the list of what matches."""
    words = q.strip()
    target = await _named(context, words)
    if target is not None:
        return Response("", status_code=303, headers={"Location": target}, media_type="text/html")
    return await index.fn(context, q=words or None)  # type: ignore[no-any-return]  # litestar keeps fn untyped


async def _named(context: AppContext, words: str) -> str | None:
    ref = parse_market(words)
    if ref is not None:
        market_id = ref.id or await markets.id_of(context.pool, ref)
        return f"/markets/{market_id}" if market_id else f"/wallets/{ref}"
    return f"/transactions/{words}" if is_signature(words) else None


@get("/static/{path:path}", include_in_schema=False, opt={LIMIT: NO_LIMIT})
async def static(path: FromPath[str]) -> Response[bytes]:
    """Style and script of the pages, below the digest of all of them: browsers keep what cannot change."""
    version, _, name = path.lstrip("/").partition("/")
    content, kind = assets.files().get(name), assets.kind_of(name)
    if content is None or kind is None:
        raise NotFound(f"There is no file {path[:60]}.")
    # A page of another version, from before or after an upgrade, gets what there is and does not keep it.
    caching = _IMMUTABLE if version == assets.version() else _REVALIDATE
    return Response(content, media_type=kind, headers={"Cache-Control": caching})


def demo_wallet(context: AppContext) -> dict[str, str] | None:
    """What the demo wallet needs to know; None outside of the local stack, where there is none."""
    return {"program": context.program.address} if context.settings.is_local else None


HANDLERS = [index, market, wallet_of, transaction, find, static]
