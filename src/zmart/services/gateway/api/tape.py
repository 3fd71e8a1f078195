"""Handle reads of a market's trades and of what follows from them: sums, prices over time, candles, quotes, holders."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Annotated

from litestar import Router, get
from litestar.params import FromQuery

from zmart.client.shapes import tape as shapes
from zmart.errors import Conflict
from zmart.market.amounts import price_percent
from zmart.market.identifiers import MarketRef
from zmart.market.pricing import Quantities
from zmart.market.times import iso
from zmart.market.types import PRICE_ONE, PriceE9, Side
from zmart.services.gateway.api import candles, lookup, paging, quotes
from zmart.services.gateway.api.error_messages import PAUSED
from zmart.services.gateway.api.holders import holders
from zmart.services.gateway.api.paging import Cursor, Limit, Offset, TapeKey
from zmart.services.gateway.api.parameters import MarketKeyInPath, MaybeMoment, between
from zmart.services.gateway.api.schemas import Outcome
from zmart.services.gateway.api.tape_cache import PageKey
from zmart.services.gateway.context import AppContext, Context
from zmart.services.gateway.http.problems import GatewayRequest
from zmart.services.gateway.http.recent_changes import ResponseRows
from zmart.services.gateway.http.responses import (
    CHAIN,
    ApiResponse,
    Encoded,
    cacheable,
    encoded_around,
    wants_text,
)
from zmart.services.gateway.openapi.declarations import LINKS, lead_to, refusals
from zmart.store import trades

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
_FAR_AHEAD = timedelta(days=3650)
_MAX_POINTS = 5000
_PUBLISHED_MAX_AGE_S = 10.0
"""The maximum age in seconds of a cached response that depends only on published tables. A change of its rows ends it
earlier."""


@get(
    "/trades",
    operation_id="GetTrades",
    responses=refusals(404),
    opt={
        CHAIN: True,
        LINKS: {
            **lead_to("GetTrades", key="$request.path.key", cursor="$response.body#/next_cursor"),
            **lead_to("GetUserTrades", wallet="$response.body#/trades/0/user"),
        },
    },
)
async def market_trades(
    context: Context,
    request: GatewayRequest,
    key: MarketKeyInPath,
    limit: Limit = 50,
    offset: Offset = 0,
    cursor: Cursor = None,
) -> ApiResponse[shapes.MarketTrades]:
    """List a page of a market's newest trades, the oldest of the page first. `next_cursor` leads to the older
    trades."""
    size, skipped = paging.bounded(limit), paging.bounded_offset(offset)
    after = paging.key_of(cursor, TapeKey)
    ref, text = lookup.market_in_path(key), wants_text(request)
    read = partial(_trades, context, ref, size, skipped, after, text=text)
    return ApiResponse(await cacheable(request, read, max_age_s=_PUBLISHED_MAX_AGE_S))


async def _trades(
    context: AppContext, ref: MarketRef, size: int, offset: int, after: TapeKey | None, *, text: bool
) -> Encoded[shapes.MarketTrades]:
    market_id = ref.id or await lookup.market_id_of(context, ref)
    position = after.position if after else None
    page = await context.tapes.page(PageKey(market_id, size, offset, position, text))
    if ref.id and not page.count:
        await lookup.market_id_of(context, ref)  # raises NotFound for an unknown market
    return encoded_around(
        shapes.MarketTrades,
        ResponseRows((market_id,)),
        trades=page.trades,
        count=page.count,
        market_id=market_id,
        next_cursor=paging.cursor_of(TapeKey(*page.next_after)) if page.next_after else None,
    )


@get("/stats", operation_id="GetStats", responses=refusals(404), opt={CHAIN: True})
async def market_stats(context: Context, key: MarketKeyInPath) -> shapes.MarketStats:
    """Return the trading volume of a market in lamports, the number of its trades and the number of its traders."""
    market_id = await lookup.market_id_of(context, lookup.market_in_path(key))
    sums = await trades.stats(context.pool, market_id)
    return shapes.MarketStats(
        market_id=market_id,
        stats=shapes.TapeStats(
            total_volume=sums.volume,
            total_trades=sums.trades,
            unique_traders=sums.wallets,
            buy_volume=sums.bought,
            sell_volume=sums.sold,
        ),
    )


@get("/price-history", operation_id="GetPriceHistory", responses=refusals(404), opt={CHAIN: True})
async def price_history(
    context: Context,
    key: MarketKeyInPath,
    start: MaybeMoment = None,
    end: MaybeMoment = None,
    limit: Annotated[int, between(0, description="0 to 5000; more is taken as 5000")] = 1000,
) -> shapes.PriceHistory:
    """List the prices after the newest trades of the window, in percent, oldest first. The first point is the market's
    opening if that is in the window and `limit` is not reached."""
    row = await lookup.market_of(context, lookup.market_in_path(key))
    since = lookup.moment("start", start, LONG_AGO)
    until = lookup.moment("end", end, datetime.now(UTC) + _FAR_AHEAD)
    size = min(limit, _MAX_POINTS)
    points = await trades.points(context.pool, row.market_id, since, until, size)
    opened = row.activated_at
    if opened is not None and since <= opened < until and len(points) < size:
        points.insert(0, (opened, PriceE9(PRICE_ONE // 2)))
    history = [
        shapes.PricePoint(
            timestamp=iso(moment), yes=price_percent(price), no=price_percent(PRICE_ONE - price)
        )
        for moment, price in points
    ]
    return shapes.PriceHistory(market_id=row.market_id, price_history=history, count=len(history))


@get("/candles", operation_id="GetCandles", responses=refusals(404), opt={CHAIN: True})
async def market_candles(
    context: Context,
    request: GatewayRequest,
    key: MarketKeyInPath,
    interval: FromQuery[candles.Interval] = "1h",
    start: MaybeMoment = None,
    end: MaybeMoment = None,
) -> ApiResponse[shapes.Candles]:
    """List a market's candles: open, high, low and close of the YES price, and the volume, of each interval without
    gaps."""
    ref, text = lookup.market_in_path(key), wants_text(request)
    read = partial(candles.of, context.pool, ref, interval, start, end, text=text)
    return ApiResponse(await cacheable(request, read, max_age_s=partial(candles.seconds_to_next, interval)))


@get("/quote", operation_id="GetQuote", responses=refusals(404, 409), opt={CHAIN: True})
async def market_quote(
    context: Context,
    key: MarketKeyInPath,
    outcome: FromQuery[Outcome],
    side: FromQuery[Side] = Side.BUY,
    shares: Annotated[int | None, between(1, 2**63 - 1)] = None,
    max_cost: Annotated[int | None, between(1, 2**63 - 1, "lamports, fees included")] = None,
    min_shares: Annotated[int | None, between(0, 2**63 - 1)] = None,
    slippage_bps: Annotated[int | None, between(0, 10_000)] = None,
) -> shapes.Quote:
    """Quote a trade by the market's indexed state, exact to the lamport for the configured program."""
    order = quotes.TradeOrder(
        side=side,
        outcome=outcome is Outcome.YES,
        shares=shares,
        max_cost=max_cost,
        min_shares=min_shares,
        slippage_bps=slippage_bps,
    )
    order.check()
    row = await lookup.market_of(context, lookup.market_in_path(key))
    if row.state != "ACTIVE":
        raise Conflict(f"Only an ACTIVE market is traded; this one is {row.state}.")
    if (rules := (await context.policy()).rules) is not None and rules.is_paused:
        raise Conflict(PAUSED)
    quantities = Quantities(row.shares_yes, row.shares_no, row.b_parameter)
    return quotes.quote(context.pricing, row.market_id, quantities, await context.fees(), order)


ROUTER = Router(
    "/api/markets/{key:str}",
    route_handlers=[market_trades, market_stats, price_history, market_candles, market_quote, holders],
    tags=["tape"],
)
