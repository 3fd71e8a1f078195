"""Handle what other sites and search engines read: a market's picture, robots.txt, the sitemap, the icon."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from functools import partial

from litestar import Response, get
from litestar.params import FromPath

from zmart.market.outcomes import side_name
from zmart.services.gateway.api import lookup
from zmart.services.gateway.context import AppContext, Context
from zmart.services.gateway.explorer import assets, market_page, numbers, share_picture
from zmart.services.gateway.explorer import sitemap as sitemap_document
from zmart.services.gateway.explorer.share_picture import MarketPicture
from zmart.store.markets import MarketRow

_MAX_PICTURES = 64
_PICTURE_HEADERS = {"Cache-Control": "public, max-age=300", "Cross-Origin-Resource-Policy": "cross-origin"}
"""Pages of other sites may show the picture."""
_FILE_CACHING = {"Cache-Control": f"public, max-age={sitemap_document.FRESH_S}"}
_ROBOTS = "User-agent: *\nDisallow: /api/\nDisallow: /find\nDisallow: /portfolio\n"

_pictures: OrderedDict[MarketPicture, bytes] = OrderedDict()
"""The pictures (PNG) that were requested last, by their content; at most _MAX_PICTURES."""


def headline(row: MarketRow) -> str:
    """Return the headline of a market: its final outcome, that it is cancelled, or the price of YES."""
    match row.state:
        case "FINALIZED":
            return "No outcome" if row.final_outcome is None else f"{side_name(row.final_outcome)} won"
        case "CANCELLED":
            return "Cancelled"
        case _:
            return f"{numbers.cents(row.price_yes_e9)}% YES"


def link_values(context: AppContext, row: MarketRow) -> dict[str, str]:
    """Return what other sites show of a link to the market: headline and address of its page. `address` is empty if the
    pages' public address is not set."""
    base = context.public_base
    return {"headline": headline(row), "address": f"{base}/markets/{row.market_id}" if base else ""}


@get("/markets/{key:str}/picture.png", include_in_schema=False)
async def picture(context: Context, key: FromPath[str]) -> Response[bytes]:
    """Serve the picture (PNG) of a market as it is now."""
    row = await lookup.market_of(context, lookup.market_in_path(key))
    traders = f"{row.traders:,} {'trader' if row.traders == 1 else 'traders'}"
    market = MarketPicture(
        question=row.question,
        headline=headline(row),
        note=f"{numbers.sol(row.total_volume)} SOL traded · {traders}",
        points=tuple(await market_page.price_points(context, row)),
    )
    return Response(await _drawn(market), media_type="image/png", headers=_PICTURE_HEADERS)


async def _drawn(market: MarketPicture) -> bytes:
    known = _pictures.get(market)
    if known is None:
        known = await asyncio.to_thread(partial(share_picture.draw, market))
        _pictures[market] = known
        if len(_pictures) > _MAX_PICTURES:
            _pictures.popitem(last=False)
    _pictures.move_to_end(market)
    return known


@get("/robots.txt", include_in_schema=False)
async def robots(context: Context) -> Response[str]:
    """Serve robots.txt, which tells search engines what to read."""
    base = context.public_base
    text = f"{_ROBOTS}Sitemap: {base}/sitemap.xml\n" if base else _ROBOTS
    return Response(text, media_type="text/plain", headers=_FILE_CACHING)


@get("/sitemap.xml", include_in_schema=False)
async def sitemap(context: Context) -> Response[bytes]:
    """Serve the sitemap for search engines, with the newest 5,000 markets as they were at most an hour ago. It is empty
    if the pages' public address is not set."""
    return Response(await context.sitemap.get(), media_type="application/xml", headers=_FILE_CACHING)


@get("/favicon.ico", include_in_schema=False)
async def favicon() -> Response[bytes]:
    """Serve the icon at /favicon.ico, for clients that request it there without having read a page."""
    return Response(assets.files()["mark.png"], media_type="image/png", headers=_FILE_CACHING)


HANDLERS = [picture, robots, sitemap, favicon]
