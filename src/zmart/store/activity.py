"""Read the recent activity of all markets in one list: trades, votes off chain, comments, new and finalized markets."""

from __future__ import annotations

from datetime import datetime
from functools import cache

import msgspec

from zmart.market.types import Lamports, MarketId, Wallet
from zmart.store.documents import OF_MARKET
from zmart.store.pool import Pool

_NO_POSITION = "NULL::bigint[] AS position_on_chain"
# The chain's times are whole seconds: of the trades of one second, their positions on chain tell the newest.
_NEWEST = {
    "trade": """SELECT signature || ':' || ordinal AS id, 'trade' AS type, wallet,
        side || ' ' || upper(outcome) AS action, market_id, traded_at AS moment,
        cost_lamports AS amount, ARRAY[slot, index_in_block, ordinal] AS position_on_chain
        FROM trades ORDER BY traded_at DESC, slot DESC, index_in_block DESC, ordinal DESC LIMIT $1""",
    "vote": f"""SELECT id::text, 'vote' AS type, wallet,
        kind || ' ' || choice AS action, market_id,
        created_at AS moment, NULL::bigint AS amount, {_NO_POSITION} FROM votes
        ORDER BY created_at DESC LIMIT $1""",
    "discussion": f"""SELECT id::text, 'discussion' AS type, wallet, 'comment' AS action, market_id,
        created_at AS moment, NULL::bigint AS amount, {_NO_POSITION} FROM discussions WHERE deleted_at IS NULL
        ORDER BY created_at DESC LIMIT $1""",
    "creation": f"""SELECT market_id::text AS id, 'creation' AS type, creator AS wallet, 'created' AS action, market_id,
        created_at AS moment, NULL::bigint AS amount, {_NO_POSITION} FROM markets
        ORDER BY created_at DESC, market_id DESC LIMIT $1""",
    "resolution": f"""SELECT market_id || ':final' AS id, 'resolution' AS type, coalesce(resolver, creator) AS wallet,
        'resolved ' || upper(final_outcome) AS action, market_id, finalized_at AS moment, NULL::bigint AS amount,
        {_NO_POSITION} FROM markets WHERE state = 'FINALIZED' ORDER BY finalized_at DESC, market_id DESC LIMIT $1""",
}
TYPES = tuple(_NEWEST)
"""The types of rows: trade, vote (cast off chain), discussion (a comment), creation and resolution of a market."""


class ActivityRow(msgspec.Struct, frozen=True, kw_only=True):
    """A row of the activity list, of one of TYPES, which happened at `moment`. `amount`: the lamports that a trade cost
    or paid out; None for other types. `question`: the question of the row's market, empty while its text is unknown."""

    id: str
    type: str
    wallet: Wallet
    action: str
    market_id: MarketId
    moment: datetime
    amount: Lamports | None
    question: str


@cache
def _union(types: tuple[str, ...]) -> str:
    parts = " UNION ALL ".join(f"({_NEWEST[name]})" for name in types)
    order = "moment DESC, position_on_chain DESC NULLS LAST, id"
    return f"""
    SELECT a.id, a.type, a.wallet, a.action, a.market_id, a.moment, a.amount, coalesce(d.question, '') AS question
    FROM (SELECT * FROM ({parts}) AS newest ORDER BY {order} LIMIT $1) AS a
    LEFT JOIN markets m USING (market_id) LEFT JOIN market_documents d ON {OF_MARKET} ORDER BY {order}"""


async def newest(pool: Pool, limit: int, only: tuple[str, ...] = TYPES) -> list[ActivityRow]:
    """Return the newest `limit` rows whose type is in `only`, the newest first."""
    return [ActivityRow(**row) for row in await pool.fetch(_union(only), limit)]
