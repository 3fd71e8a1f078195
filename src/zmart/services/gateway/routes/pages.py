"""The explorer's pages."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Annotated

from litestar import Response, get
from litestar.params import FromPath, FromQuery, QueryParameter

from zmart.errors import NotFound
from zmart.market.types import PRICE_ONE, MarketState
from zmart.services.gateway import lookup, paging, views, worth
from zmart.services.gateway.doorman import LIMIT, NO_LIMIT
from zmart.services.gateway.pages import charts
from zmart.services.gateway.pages.render import page, static_file
from zmart.services.gateway.paging import MarketKey
from zmart.services.gateway.rooms import Rooms, TheRooms
from zmart.store import discussions, market_lists, markets, positions, trades, users
from zmart.store.markets import Filters, MarketRow, Page, Sort

_PAGE_SIZE = 30
_MAX_POINTS = 500
_LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
_SORTS = {"newest": Sort.NEWEST, "volume": Sort.VOLUME, "ending": Sort.ENDING, "trending": Sort.TRENDING}
_KINDS = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}


@get("/", include_in_schema=False)
async def index(
    rooms: TheRooms,
    market_state: Annotated[str | None, QueryParameter(name="state")] = None,
    category: FromQuery[str | None] = None,
    q: Annotated[str | None, QueryParameter(max_length=200)] = None,
    sort: FromQuery[str] = "newest",
    offset: Annotated[int, QueryParameter(ge=0, le=paging.MAX_OFFSET)] = 0,
    cursor: FromQuery[str | None] = None,
) -> Response[str]:
    """All markets."""
    filters = Filters(
        state=lookup.state_of(market_state) if market_state else None, category=category or None, q=q or None
    )
    order = _SORTS.get(sort, Sort.NEWEST)
    key = None if order is Sort.TRENDING else paging.key_of(cursor, MarketKey)
    at = Page(limit=_PAGE_SIZE + 1, offset=offset, after=(key.value, key.market_id) if key else None)
    found, more = paging.cut(await markets.page(rooms.pool, filters, order, at), _PAGE_SIZE)
    total, kinds = await asyncio.gather(
        markets.count(rooms.pool, filters, order), market_lists.categories(rooms.pool)
    )
    following = None
    if more:
        following = (
            {"offset": str(offset + _PAGE_SIZE)}
            if order is Sort.TRENDING
            else {"cursor": paging.cursor_of(MarketKey(*markets.key_of(order, found[-1])))}
        )
    return page(
        "index.html",
        title="Markets",
        markets=found,
        total=total,
        categories=kinds,
        states=[state.name for state in MarketState],
        chosen={"state": filters.state or "", "category": category or "", "q": q or "", "sort": order.value},
        sorts=list(_SORTS),
        following=following,
        socket=rooms.socket_url,
        one=PRICE_ONE,
    )


@get("/markets/{key:str}", include_in_schema=False)
async def market(rooms: TheRooms, key: FromPath[str]) -> Response[str]:
    """One market: price, tape, life, talk."""
    row = await lookup.market_of(rooms, lookup.key_in_path(key))
    policy = await rooms.policy()
    tape = await trades.of_market(rooms.pool, row.market_id, 30)
    holders = await positions.of_market(rooms.pool, row.market_id, 10)
    talk = await discussions.of_market(rooms.pool, row.market_id, 30)
    return page(
        "market.html",
        title=row.question or f"Market {row.market_id[:8]}",
        market=row,
        outcome=views.outcome_word(row),
        finalize_after=views.finalize_after(row, policy),
        tape=tape,
        holders=holders,
        talk=talk,
        line=charts.price_path(await _points(rooms, row)),
        width=charts.WIDTH,
        height=charts.HEIGHT,
        steps=_steps(row),
        socket=rooms.socket_url,
        one=PRICE_ONE,
    )


async def _points(rooms: Rooms, row: MarketRow) -> list[tuple[datetime, int]]:
    until = datetime.now(UTC) + timedelta(days=3650)
    found: list[tuple[datetime, int]] = [
        (moment, int(price))
        for moment, price in await trades.points(rooms.pool, row.market_id, _LONG_AGO, until, _MAX_POINTS)
    ]
    if row.activated_at is not None and len(found) < _MAX_POINTS:
        found.insert(0, (row.activated_at, PRICE_ONE // 2))
    return found


def _steps(row: MarketRow) -> list[tuple[str, datetime]]:
    """The moments of a market's life that have come."""
    moments = (
        ("Proposed", row.created_at),
        ("Approved", row.approved_at),
        ("Active", row.activated_at),
        ("Outcome proposed", row.resolution_proposed_at),
        ("Disputed", row.dispute_initiated_at),
        ("Finalized", row.finalized_at),
        ("Cancelled", row.cancelled_at),
    )
    return [(name, moment) for name, moment in moments if moment is not None]


@get("/wallets/{wallet:str}", include_in_schema=False)
async def wallet_page(rooms: TheRooms, wallet: FromPath[str]) -> Response[str]:
    """One wallet: what it holds and did."""
    who = lookup.wallet_in_path(wallet)
    held = await positions.of_wallet(rooms.pool, who, 100)
    return page(
        "wallet.html",
        title=f"Wallet {who[:6]}…",
        wallet=who,
        profile=await users.profile(rooms.pool, who),
        counts=await users.counts(rooms.pool, who),
        results=await users.results(rooms.pool, who),
        held=[(row, worth.value_of(row)) for row in held],
        tape=await trades.of_wallet(rooms.pool, who, 50),
        socket=rooms.socket_url,
    )


@get("/find", include_in_schema=False)
async def find(rooms: TheRooms, q: Annotated[str, QueryParameter(max_length=200)] = "") -> Response[str]:
    """Where the search box leads: a market, a wallet, or the list of what matches."""
    words = q.strip()
    if lookup.is_market_key(words.lower() if len(words) == 64 else words):
        known = await markets.id_of(rooms.pool, words.lower() if len(words) == 64 else words)
        target = f"/markets/{known}" if known else f"/wallets/{words}"
        return Response("", status_code=303, headers={"Location": target}, media_type="text/html")
    return await index.fn(rooms, q=words or None)  # type: ignore[no-any-return]  # litestar keeps fn untyped


@get("/static/{name:str}", include_in_schema=False, opt={LIMIT: NO_LIMIT})
async def static(name: FromPath[str]) -> Response[bytes]:
    """Style and script of the pages."""
    content = static_file(name)
    if content is None:
        raise NotFound(f"There is no file {name[:40]}.")
    kind = _KINDS[name[name.rindex(".") :]]
    return Response(content, media_type=kind, headers={"Cache-Control": "public, max-age=3600"})


HANDLERS = [index, market, wallet_page, find, static]
