"""Read short lists about markets: trending markets, categories, related markets, results of full-text search."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from zmart.market.types import Lamports, MarketId, PriceE9
from zmart.store.documents import OF_MARKET
from zmart.store.markets import DAY, LATEST_CHAIN_TIME, TRADED_RECENTLY, UNCATEGORIZED
from zmart.store.outcomes import outcome_as_boolean
from zmart.store.pool import Pool

_TRENDING = f"""
WITH recent AS (
    SELECT * FROM {TRADED_RECENTLY} t JOIN markets USING (market_id) ORDER BY volume * wallets DESC, market_id LIMIT $1
)
SELECT m.market_id, coalesce(d.question, '') AS question, m.price_yes_e9,
    coalesce(before.price_yes_after_e9, 500000000) AS price_before_e9,
    r.volume AS volume_24h, r.wallets
FROM recent r JOIN markets m USING (market_id) LEFT JOIN market_documents d ON {OF_MARKET}
LEFT JOIN LATERAL (
    SELECT price_yes_after_e9 FROM trades t
    WHERE t.market_id = m.market_id AND t.traded_at <= {LATEST_CHAIN_TIME} - {DAY}
    ORDER BY t.traded_at DESC, t.slot DESC, t.index_in_block DESC, t.ordinal DESC LIMIT 1) before ON true
ORDER BY r.volume * r.wallets DESC, m.market_id LIMIT $1
"""
_BEFORE = f"""
SELECT m.market_id, coalesce(before.price_yes_after_e9, 500000000) AS price_before_e9
FROM unnest($1::text[]) AS m (market_id)
LEFT JOIN LATERAL (
    SELECT price_yes_after_e9 FROM trades t
    WHERE t.market_id = m.market_id AND t.traded_at <= {LATEST_CHAIN_TIME} - {DAY}
    ORDER BY t.traded_at DESC, t.slot DESC, t.index_in_block DESC, t.ordinal DESC LIMIT 1) before ON true
"""
_CATEGORIES = f"""
SELECT coalesce(d.category, '{UNCATEGORIZED}') AS category, count(*) AS markets,
    count(*) FILTER (WHERE m.created_at > {LATEST_CHAIN_TIME} - {DAY} * 7) AS this_week
FROM markets m LEFT JOIN market_documents d ON {OF_MARKET} GROUP BY 1 ORDER BY markets DESC, category
"""
# If thousands of markets share a tag or the category, only some of them are considered: 150 with a tag in common, and
# the 50 with most volume in the category.
_RELATED = f"""
WITH me AS MATERIALIZED (
    SELECT m.market_id, coalesce(d.category, '{UNCATEGORIZED}') AS category, coalesce(d.tags, '{{}}') AS tags
    FROM markets m LEFT JOIN market_documents d ON {OF_MARKET} WHERE m.market_id = $1
), near AS (
    (SELECT m.market_id FROM market_documents d JOIN markets m ON {OF_MARKET}
     WHERE d.tags && (SELECT tags FROM me) LIMIT 150)
    UNION
    (SELECT m.market_id FROM markets m JOIN market_documents d ON {OF_MARKET}
     WHERE d.category = (SELECT category FROM me) ORDER BY m.total_volume DESC, m.market_id DESC LIMIT 50)
    UNION
    (SELECT m.market_id FROM markets m WHERE m.state = 'ACTIVE' ORDER BY m.created_at DESC, m.market_id DESC LIMIT 50)
)
SELECT m.market_id, d.question, m.state, {outcome_as_boolean("m.final_outcome")} AS final_outcome, m.price_yes_e9,
    d.category, d.category = me.category AS same_category
FROM me CROSS JOIN near
CROSS JOIN LATERAL (SELECT * FROM markets x WHERE x.market_id = near.market_id OFFSET 0) m
CROSS JOIN LATERAL (SELECT *, (SELECT count(*) FROM unnest(d.tags) t WHERE t = ANY (me.tags)) AS shared_tags
    FROM market_documents d WHERE {OF_MARKET} OFFSET 0) d
WHERE near.market_id <> me.market_id AND m.state <> 'CANCELLED'
ORDER BY m.state = 'ACTIVE' DESC, d.shared_tags DESC, d.category = me.category DESC,
    CASE WHEN d.shared_tags > 0 OR d.category = me.category THEN m.total_volume END DESC NULLS LAST,
    m.created_at DESC, m.market_id LIMIT $2
"""
_SEARCH = f"""
SELECT m.market_id, ts_rank_cd(d.search_vector, websearch_to_tsquery('english', $1)) AS rank
FROM market_documents d JOIN markets m ON {OF_MARKET}
WHERE d.search_vector @@ websearch_to_tsquery('english', $1) ORDER BY rank DESC, m.market_id LIMIT $2
"""


class TrendingRow(msgspec.Struct, frozen=True, kw_only=True):
    """A market with trades in the last 24 hours of chain time. `volume_24h` and `wallets`: the volume and the number of
    traders in that time. `price_before_e9`: the YES price when that time began, 500,000,000 before any trade."""

    market_id: MarketId
    question: str
    price_yes_e9: PriceE9
    price_before_e9: PriceE9
    volume_24h: Lamports
    wallets: int


class CategoryRow(msgspec.Struct, frozen=True, kw_only=True):
    """A category with the number of its markets; `this_week` of them were created within the last seven days
    of chain time."""

    category: str
    markets: int
    this_week: int


class RelatedRow(msgspec.Struct, frozen=True, kw_only=True):
    """A market that is related to a given one: it shares tags or the category with it, or is ACTIVE and new.

    `final_outcome` is true for YES; None for a market that is not final, and for the outcome INVALID.
    """

    market_id: MarketId
    question: str
    state: str
    final_outcome: bool | None
    price_yes_e9: PriceE9
    category: str
    same_category: bool


async def trending(pool: Pool, limit: int) -> list[TrendingRow]:
    """Return up to `limit` markets that were traded in the last 24 hours of chain time. They are sorted by volume
    times number of traders in that time, the highest product first."""
    return [TrendingRow(**row) for row in await pool.fetch(_TRENDING, limit)]


async def prices_before(pool: Pool, market_ids: Sequence[MarketId]) -> dict[MarketId, PriceE9]:
    """Return the YES price of each market 24 hours of chain time ago. For a market that had no trade by then, it is the
    opening price, 500,000,000."""
    rows = await pool.fetch(_BEFORE, list(market_ids))
    return {row["market_id"]: row["price_before_e9"] for row in rows}


async def categories(pool: Pool) -> list[CategoryRow]:
    """Return every category in use, the category with most markets first."""
    return [CategoryRow(**row) for row in await pool.fetch(_CATEGORIES)]


async def related(pool: Pool, market_id: MarketId, limit: int) -> list[RelatedRow]:
    """Return up to `limit` markets that are related to the given one: with a common tag, of the same category, or among
    the newest ACTIVE ones. Sorted by: ACTIVE first, most common tags, same category, volume (of those with a common tag
    or category), newest. Cancelled markets and markets without a stored document are left out."""
    return [RelatedRow(**row) for row in await pool.fetch(_RELATED, market_id, limit)]


async def search(pool: Pool, query: str, limit: int) -> list[tuple[MarketId, float]]:
    """Return (market id, rank) of up to `limit` markets whose texts match `query`, the best match first. The syntax of
    `query` is that of web search engines (websearch_to_tsquery)."""
    return [(row["market_id"], float(row["rank"])) for row in await pool.fetch(_SEARCH, query, limit)]
