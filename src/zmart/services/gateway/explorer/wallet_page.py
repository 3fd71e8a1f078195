"""Collect the content of a wallet's page."""

from __future__ import annotations

from datetime import datetime

from zmart.market.times import parse_iso
from zmart.market.types import Lamports, VoteKind, Wallet
from zmart.services.gateway.api import paging, value_history
from zmart.services.gateway.api.paging import TapeKey
from zmart.services.gateway.context import AppContext
from zmart.services.gateway.explorer import charts, withdrawals
from zmart.store import markets, positions, trades, users, vote_lists
from zmart.store.users import Results

_POSITIONS = 100
_CLAIMS = 100
_TRADES = 25
_VOTES = 25
_PROFIT_TRADES = 1000


async def values(
    context: AppContext, wallet: Wallet, cursor: str | None, first_position: int
) -> dict[str, object]:
    """Return the values for the template wallet.html. `cursor` chooses the page of trades, and `first_position` that of
    positions: the number of more recently traded ones before it."""
    after = paging.key_of(cursor, TapeKey)
    rows = await trades.of_wallet(context.pool, wallet, _TRADES + 1, 0, after.position if after else None)
    tape, more = paging.split_page(rows, _TRADES)
    held, more_positions = paging.split_page(
        await positions.of_wallet(context.pool, wallet, _POSITIONS + 1, first_position), _POSITIONS
    )
    following = first_position + _POSITIONS
    claims, more_claims = paging.split_page(
        await positions.claimable(context.pool, wallet, context.claim_rule, _CLAIMS + 1), _CLAIMS
    )
    cast = [
        vote for kind in VoteKind for vote in await vote_lists.of_wallet(context.pool, wallet, kind, _VOTES)
    ]
    named = {row.market_id: row.question for row in held}
    mentioned = {trade.market_id for trade in tape} | {vote.market_id for vote in cast}
    missing = list(mentioned - named.keys())
    named |= {key: row.question for key, row in (await markets.several(context.pool, missing)).items()}
    valued = [(row, row.value(context.claim_rule)) for row in held]
    results = await users.results(context.pool, wallet, context.claim_rule)
    profit = await _profit(context, wallet, results)
    return {
        "title": f"Wallet {wallet[:4]}…{wallet[-4:]}",
        "wallet": wallet,
        "profile": await users.profile(context.pool, wallet),
        "counts": await users.counts(context.pool, wallet),
        "results": results,
        "held": valued,
        "first_position": first_position,
        "older_positions": following if more_positions and following <= paging.MAX_OFFSET else None,
        "claims": [(row, row.payout(context.claim_rule)) for row in claims],
        "more_claims": more_claims,
        "withdrawals": await withdrawals.waiting(context.pool, wallet, context.claim_rule),
        "profit": profit,
        "profit_line": charts.amount_path(profit),
        "width": charts.WIDTH,
        "height": charts.HEIGHT,
        "tape": tape,
        "older_trades": paging.cursor_of(TapeKey(*tape[-1].position)) if more and tape else None,
        "cast": sorted(cast, key=lambda vote: vote.created_at, reverse=True),
        "questions": named,
    }


async def _profit(context: AppContext, wallet: Wallet, results: Results) -> list[tuple[datetime, Lamports]]:
    """Return (chain time, profit in lamports) over the wallet's newest 1,000 trades and up to now."""
    points = await value_history.of_wallet(context.pool, wallet, _PROFIT_TRADES, context.claim_rule, results)
    return [
        (parse_iso(point.timestamp), Lamports(point.realized_pnl + point.value - point.invested))
        for point in points
    ]
