"""Collect the content of a market's page."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from zmart.market.times import iso
from zmart.market.types import PRICE_ONE, VoteKind
from zmart.services.gateway.api import paging, serializers, tape, timeline, vote_terms
from zmart.services.gateway.api.paging import TapeKey, TimeKey
from zmart.services.gateway.api.serializers import FinalizationPolicy
from zmart.services.gateway.context import AppContext
from zmart.services.gateway.explorer import (
    action_deadlines,
    charts,
    discussion_threads,
    market_timeline,
    vote_totals,
    withdrawals,
)
from zmart.store import (
    change_feed,
    discussions,
    market_lists,
    market_voting,
    positions,
    trades,
    vote_lists,
    votes,
)
from zmart.store.markets import MarketRow

_TRADES = 25
_COMMENTS = 25
_HOLDERS = 8
_VOTES = 12
_SNAPSHOTS = 12
_EVENTS = 50
_RELATED = 4
_MAX_POINTS = 500


async def values(
    context: AppContext, row: MarketRow, tape_cursor: str | None, talk_cursor: str | None
) -> dict[str, object]:
    """Return the values for the template market.html. `tape_cursor` and `talk_cursor` choose the page of trades and of
    comments. The feed's head is read first, so that no change is missed between the page and the live messages after
    that head."""
    head = await change_feed.head(context.pool)
    policy = await context.policy()
    life = await timeline.of(context.pool, row.market_id, _EVENTS)
    counts = await votes.counts(context.pool, row.market_id)
    not_counted = await votes.not_counted(context.pool, row.market_id)
    voting = vote_terms.of_row(context.settings, await market_voting.of_market(context.pool, row.market_id))
    deadline = await action_deadlines.of(context, row, policy, voting)
    drawn = await price_points(context, row)
    return {
        "title": row.question or f"Market {row.market_id[:8]}",
        "market": row,
        "head": head,
        "socket": context.socket_url,
        "outcome": serializers.outcome_word(row),
        "deadline": deadline,
        "opens_for_outcome": _opens_for_outcome(context, row, policy),
        "pricing_model": context.pricing.name,
        "withdrawal": withdrawals.of_creator(row, context.claim_rule),
        "finalize_after": serializers.finalize_after(row, policy),
        "ballots": vote_totals.of_market(
            row,
            vote_totals.totals_by_kind(counts, not_counted, voting),
            policy,
            is_over=deadline is not None and deadline.is_over,
        ),
        "review": vote_terms.review_of(voting.review),
        "life": [market_timeline.timeline_row(entry) for entry in life.timeline],
        "line": charts.price_path(drawn),
        "width": charts.WIDTH,
        "height": charts.HEIGHT,
        "drawn_to": iso(drawn[-1][0]) if drawn else None,
        "gateway": context.settings.ipfs_gateway_url,
        "related": await market_lists.related(context.pool, row.market_id, _RELATED),
        "snapshots": await discussions.snapshots(context.pool, row.market_id, _SNAPSHOTS),
        **await _people(context, row),
        **await _tape(context, row, tape_cursor),
        **await _talk(context, row, talk_cursor),
    }


def _opens_for_outcome(context: AppContext, row: MarketRow, policy: FinalizationPolicy) -> datetime | None:
    """Return the time from which the program accepts a proposed outcome. None if it accepts one at any time (v0.69), if
    the market is not active yet, and before the program's rules are indexed."""
    if context.pricing.name != "reference" or policy.rules is None or row.activated_at is None:
        return None
    return row.activated_at + timedelta(seconds=policy.rules.min_resolution_delay)


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
    after = paging.key_of(cursor, TapeKey)
    rows = await trades.of_market(
        context.pool, row.market_id, _TRADES + 1, 0, after.position if after else None
    )
    page_rows, more = paging.split_page(rows, _TRADES)
    older = paging.cursor_of(TapeKey(*page_rows[-1].position)) if more and page_rows else None
    return {"tape": page_rows, "older_trades": older, "tape_is_live": after is None}


async def _talk(context: AppContext, row: MarketRow, cursor: str | None) -> dict[str, object]:
    after = paging.key_of(cursor, TimeKey)
    rows = await discussions.of_market(context.pool, row.market_id, _COMMENTS + 1)
    is_newest = True
    if after is not None:
        older_rows = await discussions.of_market(
            context.pool, row.market_id, _COMMENTS + 1, 0, (after.moment, after.id)
        )
        # A link to one of the newest comments leads to the page on which new ones appear.
        is_newest = bool(older_rows) and older_rows[0].id in {each.id for each in rows[:_COMMENTS]}
        rows = rows if is_newest else older_rows
    page_rows, more = paging.split_page(rows, _COMMENTS)
    older = (
        paging.cursor_of(TimeKey(page_rows[-1].created_at, page_rows[-1].id)) if more and page_rows else None
    )
    return {
        "talk": discussion_threads.threads_of(page_rows),
        "older_comments": older,
        "talk_is_live": is_newest,
    }


async def price_points(context: AppContext, row: MarketRow) -> list[tuple[datetime, int]]:
    """Return (time, YES price in 1e-9) after each of the newest 500 trades, oldest first. If there are fewer, the first
    point is the opening price."""
    until = datetime.now(UTC) + timedelta(days=3650)  # the clock of a local chain may be ahead of ours
    points: list[tuple[datetime, int]] = [
        (moment, int(price))
        for moment, price in await trades.points(
            context.pool, row.market_id, tape.LONG_AGO, until, _MAX_POINTS
        )
    ]
    if row.activated_at is not None and len(points) < _MAX_POINTS:
        points.insert(0, (row.activated_at, PRICE_ONE // 2))
    return points
