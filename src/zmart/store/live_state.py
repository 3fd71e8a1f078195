"""Read the state that a subscriber of the live feed gets first, as of one offset of the change feed.

Each statement reads feed_head and the rows in one snapshot of the database, so `head` is exactly the last change
that `state` contains.
"""

from __future__ import annotations

import msgspec

from zmart.store.documents import OF_MARKET
from zmart.store.pool import Pool

NEWEST = 50
"""The maximum number of rows in a list of markets, trades or comments."""

_AT = "SELECT h.epoch::text AS epoch, h.head, h.kept_from, ({state})::text AS state FROM feed_head h"
_DOCUMENT = f"""
coalesce((SELECT jsonb_build_object('question', d.question, 'description', d.description, 'category', d.category,
                                    'tags', d.tags, 'ends_at', d.ends_at)
          FROM market_documents d WHERE {OF_MARKET} AND d.problem IS NULL), '{{}}')
"""
_MARKET = _AT.format(state=f"SELECT to_jsonb(m) || {_DOCUMENT} FROM markets m WHERE m.market_id = $1")
_MARKETS = _AT.format(
    state=f"""SELECT jsonb_build_object(
        'count', (SELECT count(*) FROM markets),
        'rows', coalesce(jsonb_agg(r.row ORDER BY r.created_at DESC, r.market_id DESC), '[]'))
    FROM (SELECT m.created_at, m.market_id, to_jsonb(m) || {_DOCUMENT} AS row FROM markets m
          ORDER BY m.created_at DESC, m.market_id DESC LIMIT {NEWEST}) r"""
)
_TRADES = """SELECT coalesce(jsonb_agg(to_jsonb(t) ORDER BY t.slot, t.index_in_block, t.ordinal), '[]')
    FROM (SELECT * FROM trades {where} ORDER BY slot DESC, index_in_block DESC, ordinal DESC LIMIT {newest}) t"""
_ALL_TRADES = _AT.format(state=_TRADES.format(where="", newest=NEWEST))
_TRADES_OF = _AT.format(state=_TRADES.format(where="WHERE market_id = $1", newest=NEWEST))
_VOTES_OF = _AT.format(
    state="SELECT jsonb_build_object('proposal', vote_tally($1, 'proposal'), 'dispute', vote_tally($1, 'dispute'))"
)
_DISCUSSIONS_OF = _AT.format(
    state=f"""SELECT coalesce(jsonb_agg(to_jsonb(c) ORDER BY c.created_at, c.id), '[]')
    FROM (SELECT * FROM discussions WHERE market_id = $1 AND deleted_at IS NULL
          ORDER BY created_at DESC, id DESC LIMIT {NEWEST}) c"""
)


class LiveState(msgspec.Struct, frozen=True, kw_only=True):
    """The state of a channel as of the feed's offset `head` in `epoch`. `state` is JSON text; for the row of a market
    that is not indexed it is None. `kept_from` is the first offset of the feed that can still be read."""

    epoch: str
    head: int
    kept_from: int
    state: str | None


async def market(pool: Pool, market_id: str) -> LiveState:
    """Return a market's row as a JSON object, with the fields of its document if that is known."""
    return await _read(pool, _MARKET, market_id)


async def markets(pool: Pool) -> LiveState:
    """Return {count, rows}: the number of all markets, and the rows of the newest NEWEST, the newest first."""
    return await _read(pool, _MARKETS)


async def trades(pool: Pool, market_id: str | None) -> LiveState:
    """Return the newest NEWEST trades of a market, or of all markets if None, in chain order."""
    if market_id is None:
        return await _read(pool, _ALL_TRADES)
    return await _read(pool, _TRADES_OF, market_id)


async def votes(pool: Pool, market_id: str) -> LiveState:
    """Return {proposal, dispute}: the tally of the market's votes of each kind, as {for, against, total}."""
    return await _read(pool, _VOTES_OF, market_id)


async def discussions(pool: Pool, market_id: str) -> LiveState:
    """Return the newest NEWEST visible comments of a market, the oldest of these first."""
    return await _read(pool, _DISCUSSIONS_OF, market_id)


async def _read(pool: Pool, sql: str, *arguments: object) -> LiveState:
    row = await pool.fetchrow(sql, *arguments)
    return msgspec.convert(dict(row or {}), LiveState)
