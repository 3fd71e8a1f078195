"""Wallets as people: profile, results, positions, and who leads."""

from __future__ import annotations

import re
from typing import Annotated, Literal

import msgspec
from litestar import get, put
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter

from zmart.client.shapes import people as shapes
from zmart.client.shapes.tape import WalletTrades
from zmart.errors import Forbidden, Invalid
from zmart.market.times import iso
from zmart.market.types import Lamports, MarketState, Wallet
from zmart.services.gateway.api import lookup, paging, schemas, serializers, valuation
from zmart.services.gateway.api.formatting import percent, units_text
from zmart.services.gateway.api.paging import Cursor, Limit, Offset, TapeKey
from zmart.services.gateway.context import Context
from zmart.services.gateway.http.request_auth import Auth, checked_length
from zmart.services.gateway.http.responses import CHAIN
from zmart.store import positions, trades, users
from zmart.store.markets import MarketRow
from zmart.store.positions import Held, Position
from zmart.store.users import Counts, Profile

_HTTPS_URL = re.compile(r"https://[!-~]+")
_HANDLE = re.compile(r"@?[A-Za-z0-9_]+")
_WINDOWS_S = {"24h": 86_400, "7d": 604_800, "30d": 2_592_000, "all": 10**9}


class ProfileChange(msgspec.Struct, frozen=True, kw_only=True):
    """Fields that are left out stay as they are; an empty text clears one."""

    display_name: schemas.DisplayName | None = None
    bio: schemas.Bio | None = None
    avatar_url: schemas.HttpsUrl | None = None
    twitter_handle: schemas.Handle | None = None


@get("/api/users/{wallet:str}", opt={CHAIN: True}, tags=["users"])
async def user(context: Context, wallet: FromPath[str]) -> shapes.User:
    """Profile and counts. A wallet that never did anything has the same shape with zeros."""
    who = lookup.wallet_in_path(wallet)
    return _user(who, await users.profile(context.pool, who), await users.counts(context.pool, who))


@put("/api/users/{wallet:str}", tags=["users"])
async def put_user(
    context: Context, auth: Auth, wallet: FromPath[str], data: JSONBody[ProfileChange]
) -> shapes.User:
    """Change your own profile."""
    who = lookup.wallet_in_path(wallet)
    change = _checked(data)
    if await auth.wallet() != who:
        raise Forbidden("A profile is changed by its own wallet only.")
    profile = await users.put(
        context.pool, who, change.display_name, change.bio, change.avatar_url, change.twitter_handle
    )
    return _user(who, profile, await users.counts(context.pool, who))


def _checked(data: ProfileChange) -> ProfileChange:
    def bounded(field: str, text: str | None, longest: int) -> str | None:
        return None if text is None else checked_length(field, text, 0, longest)

    url = bounded("avatar_url", data.avatar_url, 500)
    if url and not _HTTPS_URL.fullmatch(url):
        raise Invalid("avatar_url", "avatar_url must be an address that begins with https://.")
    handle = bounded("twitter_handle", data.twitter_handle, 16)
    if handle and not _HANDLE.fullmatch(handle):
        raise Invalid("twitter_handle", "twitter_handle has letters, digits and _ only.")
    return ProfileChange(
        display_name=bounded("display_name", data.display_name, 50),
        bio=bounded("bio", data.bio, 500),
        avatar_url=url,
        twitter_handle=handle,
    )


def _user(wallet: Wallet, profile: Profile | None, counts: Counts) -> shapes.User:
    return shapes.User(
        wallet=wallet,
        display_name=profile.display_name if profile else None,
        bio=profile.bio if profile else None,
        avatar_url=profile.avatar_url if profile else None,
        twitter_handle=profile.twitter_handle if profile else None,
        created_at=iso(profile.created_at) if profile else None,
        updated_at=iso(profile.updated_at) if profile else None,
        stats=shapes.UserCounts(
            total_trades=counts.trades,
            total_votes=counts.proposal_votes + counts.dispute_votes,
            proposal_votes=counts.proposal_votes,
            dispute_votes=counts.dispute_votes,
            discussions=counts.discussions,
            markets_created=counts.markets_created,
        ),
    )


@get("/api/users/{wallet:str}/stats", opt={CHAIN: True}, tags=["users"])
async def user_stats(context: Context, wallet: FromPath[str]) -> shapes.UserStats:
    """Volume, results and how often a settled position gained."""
    who = lookup.wallet_in_path(wallet)
    counts, results = await users.counts(context.pool, who), await users.results(context.pool, who)
    return shapes.UserStats(
        wallet=who,
        total_trades=counts.trades,
        total_volume=results.volume,
        realized_pnl=results.realized,
        unrealized_pnl=results.unrealized,
        total_pnl=Lamports(results.realized + results.unrealized),
        total_invested=results.invested,
        active_positions=results.open_positions,
        settled_positions=results.settled,
        won_positions=results.won,
        win_rate=percent(results.won, results.settled),
        total_votes=counts.proposal_votes + counts.dispute_votes,
        comments=counts.discussions,
    )


@get("/api/users/{wallet:str}/trades", opt={CHAIN: True}, tags=["users"])
async def user_trades(
    context: Context, wallet: FromPath[str], limit: Limit = 50, offset: Offset = 0, cursor: Cursor = None
) -> WalletTrades:
    """The wallet's trades, newest first."""
    who, size = lookup.wallet_in_path(wallet), paging.bounded(limit)
    behind = paging.key_of(cursor, TapeKey)
    found = await trades.of_wallet(
        context.pool, who, size + 1, paging.bounded_offset(offset), behind.place if behind else None
    )
    rows, more = paging.cut(found, size)
    return WalletTrades(
        trades=[serializers.trade(row) for row in rows],
        count=len(rows),
        wallet=who,
        next_cursor=paging.cursor_of(TapeKey(*rows[-1].place)) if more and rows else None,
    )


@get("/api/users/{wallet:str}/positions", opt={CHAIN: True}, tags=["users"])
async def user_positions(
    context: Context, wallet: FromPath[str], limit: Limit = 200, offset: Offset = 0
) -> list[shapes.UserPosition]:
    """Positions with their worth, as decimal text in SOL and shares."""
    who = lookup.wallet_in_path(wallet)
    held = await positions.of_wallet(context.pool, who, paging.bounded(limit), paging.bounded_offset(offset))
    return [_valued(row) for row in held]


def _valued(row: Held) -> shapes.UserPosition:
    value = row.value
    return shapes.UserPosition(
        market_id=row.market_id,
        question=row.question,
        shares_yes=units_text(row.shares_yes),
        shares_no=units_text(row.shares_no),
        total_invested=units_text(row.total_invested),
        current_value=units_text(value.current),
        unrealized_pnl=units_text(value.unrealized),
        roi=units_text(value.unrealized * 100 * 1_000_000_000 // value.basis if value.basis else 0),
        state=MarketState[row.state].value,
    )


@get("/api/positions/{wallet:str}", opt={CHAIN: True}, tags=["users"])
async def plain_positions(
    context: Context, wallet: FromPath[str], limit: Limit = 200, offset: Offset = 0
) -> list[shapes.Position]:
    """Positions as the program keeps them."""
    who = lookup.wallet_in_path(wallet)
    held = await positions.of_wallet(context.pool, who, paging.bounded(limit), paging.bounded_offset(offset))
    return [
        shapes.Position(
            id=context.program.addresses.position(context.program.addresses.market(row.market_id), who),
            market_id=row.market_id,
            user=who,
            yes_shares=row.shares_yes,
            no_shares=row.shares_no,
            created_at=iso(row.first_trade_at),
            updated_at=iso(row.last_trade_at),
        )
        for row in held
    ]


@get("/api/users/{wallet:str}/portfolio", opt={CHAIN: True}, tags=["users"])
async def portfolio(context: Context, wallet: FromPath[str]) -> shapes.Portfolio:
    """Open and closed positions with average cost, and the portfolio's value over time."""
    return await valuation.portfolio(context.pool, lookup.wallet_in_path(wallet))


@get("/api/markets/{key:str}/holders", opt={CHAIN: True}, tags=["tape"])
async def holders(
    context: Context, key: FromPath[str], limit: Limit = 50, offset: Offset = 0
) -> shapes.Holders:
    """All positions, and who holds YES and who holds NO, the largest first."""
    row = await lookup.market_of(context, lookup.market_in_path(key))
    size, skipped = paging.bounded(limit), paging.bounded_offset(offset)
    count, yes, no = await positions.holder_counts(context.pool, row.market_id)
    everybody = await positions.of_market(context.pool, row.market_id, size, skipped)
    sides = [
        await positions.holders(context.pool, row.market_id, side, size, skipped) for side in (True, False)
    ]
    shown = [[_holder(item, row) for item in found] for found in (everybody, *sides)]
    return shapes.Holders(
        market_id=row.market_id,
        holders=shown[0],
        yes=shown[1],
        no=shown[2],
        count=count,
        yes_count=yes,
        no_count=no,
    )


def _holder(item: Position, market: MarketRow) -> shapes.Holder:
    return shapes.Holder(
        wallet=item.wallet,
        shares_yes=item.shares_yes,
        shares_no=item.shares_no,
        percent_yes=percent(item.shares_yes, market.shares_yes),
        percent_no=percent(item.shares_no, market.shares_no),
        total_invested=item.total_invested,
        trades=item.trades_count,
        has_claimed=item.has_claimed,
        claimed_lamports=item.claimed_lamports,
    )


@get("/api/leaderboard", opt={CHAIN: True}, tags=["users"])
async def leaderboard(
    context: Context,
    window: Annotated[str, QueryParameter(description="24h, 7d, 30d or all")] = "all",
    by: FromQuery[Literal["pnl", "volume"]] = "pnl",
    limit: Limit = 50,
) -> shapes.Leaderboard:
    """Wallets that traded within the window, the best first."""
    if window not in _WINDOWS_S:
        raise Invalid("window", f"window is one of {', '.join(_WINDOWS_S)}.")
    rows = await users.leaders(context.pool, by, _WINDOWS_S[window], paging.bounded(limit))
    found = [
        shapes.Leader(
            rank=rank,
            wallet=row.wallet,
            display_name=row.display_name,
            pnl=row.pnl,
            volume=row.volume,
            trades=row.trades,
        )
        for rank, row in enumerate(rows, 1)
    ]
    return shapes.Leaderboard(leaders=found, count=len(found), by=by, window=window)


HANDLERS = [
    user, put_user, user_stats, user_trades, user_positions, plain_positions, portfolio, holders, leaderboard,
]  # fmt: skip
