"""Collect the content of a wallet's page."""

from __future__ import annotations

from zmart.market.types import VoteKind, Wallet
from zmart.services.gateway.api import paging
from zmart.services.gateway.api.paging import TapeKey
from zmart.services.gateway.context import AppContext
from zmart.store import markets, positions, trades, users, vote_lists

_POSITIONS = 100
_TRADES = 25
_VOTES = 25


async def values(context: AppContext, wallet: Wallet, cursor: str | None) -> dict[str, object]:
    """Return the values of the template wallet.html."""
    after = paging.key_of(cursor, TapeKey)
    rows = await trades.of_wallet(context.pool, wallet, _TRADES + 1, 0, after.position if after else None)
    tape, more = paging.split_page(rows, _TRADES)
    held = await positions.of_wallet(context.pool, wallet, _POSITIONS)
    cast = [
        vote for kind in VoteKind for vote in await vote_lists.of_wallet(context.pool, wallet, kind, _VOTES)
    ]
    named = {row.market_id: row.question for row in held}
    mentioned = {trade.market_id for trade in tape} | {vote.market_id for vote in cast}
    missing = list(mentioned - named.keys())
    named |= {key: row.question for key, row in (await markets.several(context.pool, missing)).items()}
    return {
        "title": f"Wallet {wallet[:4]}…{wallet[-4:]}",
        "wallet": wallet,
        "profile": await users.profile(context.pool, wallet),
        "counts": await users.counts(context.pool, wallet),
        "results": await users.results(context.pool, wallet, context.claim_rule),
        "held": [(row, row.value(context.claim_rule)) for row in held],
        "tape": tape,
        "older_trades": paging.cursor_of(TapeKey(*tape[-1].position)) if more and tape else None,
        "cast": sorted(cast, key=lambda vote: vote.created_at, reverse=True),
        "questions": named,
    }
