"""Handle the pages about wallets: one wallet, the portfolio of the connected wallet, the leaderboard, recent
activity."""

from __future__ import annotations

from typing import Annotated, Literal
from urllib.parse import quote
from uuid import UUID

from litestar import Response, get
from litestar.params import FromPath, FromQuery, QueryParameter

from zmart.services.gateway.api import lookup, paging, users
from zmart.services.gateway.api.paging import TimeKey
from zmart.services.gateway.context import Context
from zmart.services.gateway.explorer import site_values, wallet_page
from zmart.services.gateway.explorer.templating import page
from zmart.store import activity
from zmart.store.activity import ActivityRow
from zmart.store.users import leaders

_LEADERS = 50
_LAST_ID = UUID(int=2**128 - 1)
_ACTIVITIES = 50
_WINDOWS = {"24h": "24 hours", "7d": "7 days", "30d": "30 days", "all": "all time"}
_ORDERS = {"pnl": "profit", "volume": "volume"}
_KINDS = {
    "": "all",
    "trade": "trades",
    "vote": "votes",
    "discussion": "comments",
    "creation": "new markets",
    "resolution": "outcomes",
}

Window = Literal["24h", "7d", "30d", "all"]
Order = Literal["pnl", "volume"]
Kind = Literal["", "trade", "vote", "discussion", "creation", "resolution"]


@get("/wallets/{wallet:str}", include_in_schema=False)
async def wallet_of(
    context: Context,
    wallet: FromPath[str],
    trades: FromQuery[str | None] = None,
    positions: Annotated[int, QueryParameter(ge=0, le=paging.MAX_OFFSET)] = 0,
) -> Response[str]:
    """Show one wallet: positions, claims, trades, votes, results."""
    who = lookup.wallet_in_path(wallet)
    values = await wallet_page.values(context, who, trades, positions)
    return page("wallet.html", values, site=await site_values.of(context))


@get("/portfolio", include_in_schema=False)
async def portfolio(context: Context) -> Response[str]:
    """Show the portfolio of the reader's wallet. Scripts of the page load it once the wallet is connected."""
    return page("portfolio.html", title="Portfolio", site=await site_values.of(context))


@get("/leaderboard", include_in_schema=False)
async def leaderboard(
    context: Context, window: FromQuery[Window] = "all", by: FromQuery[Order] = "pnl"
) -> Response[str]:
    """Show the wallets with the highest profit or volume."""
    return page(
        "leaderboard.html",
        title="Leaderboard",
        leaders=await leaders(context.pool, by, users.WINDOWS_S[window], _LEADERS, context.claim_rule),
        windows=_WINDOWS,
        orders=_ORDERS,
        window=window,
        by=by,
        site=await site_values.of(context),
    )


@get("/activity", include_in_schema=False)
async def activity_of_all(context: Context, kind: FromQuery[Kind] = "") -> Response[str]:
    """Show the newest activity in all markets, optionally of one kind."""
    only = (kind,) if kind else activity.TYPES
    rows = await activity.newest(context.pool, _ACTIVITIES, only)
    return page(
        "activity.html",
        title="Activity",
        rows=rows,
        comment_links={row.id: _comment_link(row) for row in rows if row.type == "discussion"},
        kinds=_KINDS,
        kind=kind,
        site=await site_values.of(context),
    )


def _comment_link(row: ActivityRow) -> str:
    """Return the query and fragment that lead to a comment on the page of its market. The page of comments begins with
    it: a market has more of them than its page shows."""
    before_it = paging.cursor_of(TimeKey(row.moment, _LAST_ID))
    return f"?talk={quote(before_it, safe='')}#comment-{row.id}"


HANDLERS = [wallet_of, portfolio, leaderboard, activity_of_all]
