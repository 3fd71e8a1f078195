"""What the page of a market shows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from zmart.market.times import iso
from zmart.market.types import PRICE_ONE, VoteKind
from zmart.services.gateway.api import paging, serializers, timeline, vote_terms
from zmart.services.gateway.api.paging import TapeKey, TimeKey
from zmart.services.gateway.context import AppContext
from zmart.services.gateway.explorer import charts, market_timeline, vote_totals
from zmart.store import change_feed, discussions, positions, trades, vote_lists, votes
from zmart.store.markets import MarketRow

_TRADES = 25
_COMMENTS = 25
_HOLDERS = 8
_VOTES = 12
_SNAPSHOTS = 12
_EVENTS = 50
_MAX_POINTS = 500
_LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


async def values(
    context: AppContext, row: MarketRow, tape_cursor: str | None, talk_cursor: str | None
) -> dict[str, object]:
    """For the template market.html; the feed's place is read first, so that nothing falls between it and the page."""
    head = await change_feed.head(context.pool)
    policy = await context.policy()
    life = await timeline.of(context.pool, row.market_id, _EVENTS)
    counts = await votes.counts(context.pool, row.market_id)
    not_counted = await votes.not_counted(context.pool, row.market_id)
    found = await vote_terms.of_market(context.pool, context.settings, row.market_id)
    drawn = await _points(context, row)
    return {
        "title": row.question or f"Market {row.market_id[:8]}",
        "market": row,
        "head": head,
        "socket": context.socket_url,
        "outcome": serializers.outcome_word(row),
        "finalize_after": serializers.finalize_after(row, policy),
        "ballots": vote_totals.of_market(row, vote_totals.standings(counts, not_counted, found), policy),
        "review": vote_terms.review_of(found.review),
        "life": [market_timeline.timeline_row(entry) for entry in life.timeline],
        "line": charts.price_path(drawn),
        "width": charts.WIDTH,
        "height": charts.HEIGHT,
        "drawn_to": iso(drawn[-1][0]) if drawn else None,
        "gateway": context.settings.ipfs_gateway_url,
        "snapshots": await discussions.snapshots(context.pool, row.market_id, _SNAPSHOTS),
        **await _people(context, row),
        **await _tape(context, row, tape_cursor),
        **await _talk(context, row, talk_cursor),
    }


async def _people(context: AppContext, row: MarketRow) -> dict[str, object]:
    return {
        "holders": {
            "YES": await positions.holders(context.pool, row.market_id, True, _HOLDERS),
            "NO": await positions.holders(context.pool, row.market_id, False, _HOLDERS),
        },
        "voters": {
            kind: await vote_lists.of_market(context.pool, row.market_id, kind, _VOTES) for kind in VoteKind
        },
    }


async def _tape(context: AppContext, row: MarketRow, cursor: str | None) -> dict[str, object]:
    behind = paging.key_of(cursor, TapeKey)
    found = await trades.of_market(
        context.pool, row.market_id, _TRADES + 1, 0, behind.place if behind else None
    )
    shown, more = paging.cut(found, _TRADES)
    older = paging.cursor_of(TapeKey(*shown[-1].place)) if more and shown else None
    return {"tape": shown, "older_trades": older, "tape_is_live": behind is None}


async def _talk(context: AppContext, row: MarketRow, cursor: str | None) -> dict[str, object]:
    behind = paging.key_of(cursor, TimeKey)
    found = await discussions.of_market(
        context.pool, row.market_id, _COMMENTS + 1, 0, (behind.moment, behind.id) if behind else None
    )
    shown, more = paging.cut(found, _COMMENTS)
    older = paging.cursor_of(TimeKey(shown[-1].created_at, shown[-1].id)) if more and shown else None
    return {"talk": shown, "older_comments": older, "talk_is_live": behind is None}


async def _points(context: AppContext, row: MarketRow) -> list[tuple[datetime, int]]:
    """The price after each of the newest trades, from the opening on where they reach back to it."""
    until = datetime.now(UTC) + timedelta(days=3650)  # the clock of a local chain may be ahead of ours
    found: list[tuple[datetime, int]] = [
        (moment, int(price))
        for moment, price in await trades.points(context.pool, row.market_id, _LONG_AGO, until, _MAX_POINTS)
    ]
    if row.activated_at is not None and len(found) < _MAX_POINTS:
        found.insert(0, (row.activated_at, PRICE_ONE // 2))
    return found
