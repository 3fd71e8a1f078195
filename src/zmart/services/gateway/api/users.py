"""Handle what belongs to a wallet: profile, balance, trades, positions, results; and the leaderboard."""

from __future__ import annotations

from typing import Annotated, Literal

from litestar import Router, get, put
from litestar.params import FromQuery

from zmart.client.shapes import people as shapes
from zmart.client.shapes.tape import WalletTrades
from zmart.errors import Forbidden
from zmart.market.amounts import percent
from zmart.market.times import iso
from zmart.market.types import Address, Lamports, MarketState, Wallet
from zmart.market.valuation import PositionValue
from zmart.services.gateway.api import lookup, paging, schemas, serializers, text_quotas, valuation
from zmart.services.gateway.api.paging import Cursor, Limit, Offset, TapeKey
from zmart.services.gateway.api.parameters import MarketKeyInPath, WalletInPath
from zmart.services.gateway.context import Context
from zmart.services.gateway.http.rate_limiting import within_quotas
from zmart.services.gateway.http.request_auth import Auth
from zmart.services.gateway.http.responses import CHAIN
from zmart.services.gateway.http.security import WALLET
from zmart.services.gateway.openapi.declarations import LINKS, example, lead_to, refusals
from zmart.services.request_body import RequestBody
from zmart.store import positions, trades, users
from zmart.store.positions import HeldPosition
from zmart.store.users import ActivityCounts, ProfileRow

_ADA = example(display_name="Ada", avatar_url="https://example.com/ada.png")
_OF_A_WALLET = ("GetUser", "GetUserStats", "GetPortfolio", "GetUserPositions", "GetPositions")
WINDOWS_S = {"24h": 86_400, "7d": 604_800, "30d": 2_592_000, "all": 10**9}


class ProfileChange(RequestBody, frozen=True, kw_only=True):
    """Changes of a wallet's profile. Omitted fields stay as they are; an empty text clears a field."""

    display_name: schemas.DisplayName | None = None
    bio: schemas.Bio | None = None
    avatar_url: schemas.HttpsUrl | None = None
    twitter_handle: schemas.Handle | None = None


@get("/users/{wallet:str}", operation_id="GetUser", responses=refusals(404), opt={CHAIN: True})
async def user(context: Context, wallet: WalletInPath) -> shapes.User:
    """Return a wallet's profile and counts. A wallet that never did anything has nulls and zeros."""
    who = lookup.wallet_in_path(wallet)
    return _user(who, await users.profile(context.pool, who), await users.counts(context.pool, who))


@put("/users/{wallet:str}", operation_id="PutUser", security=WALLET, responses=refusals(403, 404))
async def put_user(
    context: Context, auth: Auth, wallet: WalletInPath, data: Annotated[ProfileChange, _ADA]
) -> shapes.User:
    """Change the profile of your own wallet. Limits for a day: 100 changes of a wallet, 1000 of all wallets of one
    address. Beyond them the answer is 429 with Retry-After."""
    who = lookup.wallet_in_path(wallet)
    sender = await auth.wallet()
    if sender != who:
        raise Forbidden(f"A profile is changed by its own wallet only: sign in with {who}, not {sender}.")
    uses = text_quotas.uses_of_profile(context, who, auth.request.client)
    async with within_quotas(context.limiter, *uses):
        profile = await users.put(
            context.pool, who, data.display_name, data.bio, data.avatar_url, data.twitter_handle
        )
    return _user(who, profile, await users.counts(context.pool, who))


def _user(wallet: Wallet, profile: ProfileRow | None, counts: ActivityCounts) -> shapes.User:
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


@get("/users/{wallet:str}/stats", operation_id="GetUserStats", responses=refusals(404), opt={CHAIN: True})
async def user_stats(context: Context, wallet: WalletInPath) -> shapes.UserStats:
    """Return a wallet's trading volume and profit in lamports, and the percentage of its positions in finalized markets
    that made a profit."""
    who = lookup.wallet_in_path(wallet)
    counts, results = (
        await users.counts(context.pool, who),
        await users.results(context.pool, who, context.claim_rule),
    )
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


@get("/users/{wallet:str}/balance", operation_id="GetBalance", responses=refusals(404))
async def balance(context: Context, wallet: WalletInPath) -> shapes.WalletBalance:
    """Return the lamports that the wallet holds on chain now."""
    who = lookup.wallet_in_path(wallet)
    return shapes.WalletBalance(wallet=who, lamports=await context.chain().get_balance(Address(who)))


@get("/users/{wallet:str}/trades", operation_id="GetUserTrades", responses=refusals(404), opt={CHAIN: True})
async def user_trades(
    context: Context, wallet: WalletInPath, limit: Limit = 50, offset: Offset = 0, cursor: Cursor = None
) -> WalletTrades:
    """List a wallet's trades in all markets, newest first."""
    who, size = lookup.wallet_in_path(wallet), paging.bounded(limit)
    after = paging.key_of(cursor, TapeKey)
    newest = await trades.of_wallet(
        context.pool, who, size + 1, paging.bounded_offset(offset), after.position if after else None
    )
    rows, more = paging.split_page(newest, size)
    return WalletTrades(
        trades=[serializers.trade(row) for row in rows],
        count=len(rows),
        wallet=who,
        next_cursor=paging.cursor_of(TapeKey(*rows[-1].position)) if more and rows else None,
    )


@get(
    "/users/{wallet:str}/positions",
    operation_id="GetUserPositions",
    responses=refusals(404),
    opt={CHAIN: True},
)
async def user_positions(
    context: Context, wallet: WalletInPath, limit: Limit = 200, offset: Offset = 0
) -> list[shapes.UserPosition]:
    """List a wallet's positions with their value. Amounts are integers in units of 1e-9, as text; GET
    /api/positions/{wallet} has the shares as numbers. `roi` is in percent: the unrealized profit of the cost of the
    shares held, or in a FINALIZED market the whole profit of `total_invested`."""
    who = lookup.wallet_in_path(wallet)
    held = await positions.of_wallet(context.pool, who, paging.bounded(limit), paging.bounded_offset(offset))
    return [_valued(row, row.value(context.claim_rule)) for row in held]


@get(
    "/users/{wallet:str}/positions/{key:str}",
    operation_id="GetUserPosition",
    responses=refusals(404),
    opt={CHAIN: True},
)
async def user_position(
    context: Context, wallet: WalletInPath, key: MarketKeyInPath
) -> shapes.PortfolioPosition:
    """Return a wallet's position in one market: its cost, its value, and its profit. Zeros for a wallet that never
    traded in the market."""
    who = lookup.wallet_in_path(wallet)
    market = await lookup.market_of(context, lookup.market_in_path(key))
    held = await positions.held_in(context.pool, who, market.market_id)
    return valuation.no_position(market) if held is None else valuation.position(held, context.claim_rule)


def _valued(row: HeldPosition, value: PositionValue) -> shapes.UserPosition:
    return shapes.UserPosition(
        market_id=row.market_id,
        question=row.question,
        shares_yes=str(row.shares_yes),
        shares_no=str(row.shares_no),
        total_invested=str(row.total_invested),
        current_value=str(value.current),
        unrealized_pnl=str(value.unrealized),
        roi=percent(value.gain, value.cost),
        state=MarketState[row.state].value,
    )


@get("/positions/{wallet:str}", operation_id="GetPositions", responses=refusals(404), opt={CHAIN: True})
async def plain_positions(
    context: Context, wallet: WalletInPath, limit: Limit = 200, offset: Offset = 0
) -> list[shapes.Position]:
    """List a wallet's positions with their numbers of shares, as the program stores them."""
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


@get("/users/{wallet:str}/portfolio", operation_id="GetPortfolio", responses=refusals(404), opt={CHAIN: True})
async def portfolio(context: Context, wallet: WalletInPath) -> shapes.Portfolio:
    """Return a wallet's open and closed positions with average cost (the 500 traded last, and after them the 500
    largest of older claims that wait), totals of all its positions, and the value of its holdings over time. The
    history has a point after each of the newest 2,000 trades, after each claim and end of a market, at up to 100 times
    at which trades of other wallets had changed the value, and one of the chain's present time, rounded down to the
    minute, with the totals."""
    return await valuation.portfolio(context.pool, lookup.wallet_in_path(wallet), context.claim_rule)


@get(
    "/leaderboard",
    operation_id="GetLeaderboard",
    opt={CHAIN: True, LINKS: lead_to(*_OF_A_WALLET, wallet="$response.body#/leaders/0/wallet")},
)
async def leaderboard(
    context: Context,
    window: FromQuery[Literal["24h", "7d", "30d", "all"]] = "all",
    by: FromQuery[Literal["pnl", "volume"]] = "pnl",
    limit: Limit = 50,
) -> shapes.Leaderboard:
    """List the wallets that traded within the window, by profit or by volume, the highest first."""
    rows = await users.leaders(context.pool, by, WINDOWS_S[window], paging.bounded(limit), context.claim_rule)
    leaders = [
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
    return shapes.Leaderboard(leaders=leaders, count=len(leaders), by=by, window=window)


ROUTER = Router(
    "/api",
    route_handlers=[
        user, put_user, user_stats, balance, user_trades, user_positions, user_position, plain_positions,
        portfolio, leaderboard,
    ],
    tags=["users"],
)  # fmt: skip
