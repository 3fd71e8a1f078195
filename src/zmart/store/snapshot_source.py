"""Read the content of a market's snapshot by one query, so that it is one consistent state of the database."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from zmart.market.types import MarketId
from zmart.store.outcomes import outcome_as_boolean
from zmart.store.pool import Connection, Pool

# The log's peaks are the roots of the complete subtrees that the log consists of: one node for each bit that is set in
# its size. The first row of the result has everything but the comments; each further row is a comment. As one JSON
# array, the comments of a long discussion would exceed what PostgreSQL allows for a value (256 MB).
_SOURCE = f"""
SELECT market, genesis_hash, tallies, voting_terms, log_size, log_peaks, comment FROM (
    SELECT (to_jsonb(m) || jsonb_build_object('proposed_outcome', {outcome_as_boolean("m.proposed_outcome")},
            'final_outcome', {outcome_as_boolean("m.final_outcome")}))::text AS market, p.genesis_hash,
        (SELECT coalesce(jsonb_agg(to_jsonb(t) ORDER BY t.kind, t.round), '[]')::text
         FROM tallies t WHERE t.market_id = m.market_id) AS tallies,
        (SELECT coalesce(jsonb_agg(to_jsonb(r) ORDER BY r.kind), '[]')::text
         FROM vote_rules r WHERE r.market_id = m.market_id) AS voting_terms,
        coalesce(l.size, 0) AS log_size,
        (SELECT coalesce(jsonb_agg(jsonb_build_array(n.level, n.node_index, encode(n.hash, 'hex'))), '[]')::text
         FROM generate_series(0, 62) bit JOIN vote_log_nodes n ON n.market_id = m.market_id AND n.level = bit
           AND (l.size >> bit) & 1 = 1 AND n.node_index = (l.size >> bit) - 1) AS log_peaks,
        NULL::text AS comment, NULL::timestamptz AS created_at, NULL::uuid AS id
    FROM markets m LEFT JOIN vote_logs l USING (market_id) LEFT JOIN index_progress p ON true
    WHERE m.market_id = $1
    UNION ALL
    SELECT NULL, NULL, NULL, NULL, NULL, NULL, to_jsonb(c)::text, c.created_at, c.id
    FROM discussions c WHERE c.market_id = $1
) AS source ORDER BY comment IS NOT NULL, created_at, id
"""
_COMMENTS_AT_ONCE = 1_000
# Markets with comments or votes; others need no snapshot.
_MARKETS = """
SELECT m.market_id FROM markets m
WHERE EXISTS (SELECT FROM discussions d WHERE d.market_id = m.market_id)
   OR EXISTS (SELECT FROM vote_logs l WHERE l.market_id = m.market_id AND l.size > 0)
ORDER BY m.market_id
"""


class SnapshotSource(msgspec.Struct, frozen=True, kw_only=True):
    """The rows that a market's snapshot is made from, as JSON text. `comments` has a text for each comment, in the
    order of (created_at, id), and includes deleted ones. `log_size`: the number of entries in the vote log;
    `log_peaks`: the roots of its complete subtrees as [level, number, hash in hex]. `genesis_hash`: of the indexed
    chain, None before an indexer has ever run."""

    market: str
    genesis_hash: str | None
    comments: Sequence[str]
    tallies: str
    voting_terms: str
    log_size: int
    log_peaks: str


async def read(connection: Connection, market_id: MarketId) -> SnapshotSource | None:
    """Return the content of a market's snapshot; None for a market that is not indexed. Needs a transaction. Comments
    are read some megabytes at a time: while a result of 100 MB is on its way, the connection seems to hang."""
    fields: dict[str, object] | None = None
    comments: list[str] = []
    async for rows in connection.pieces(_SOURCE, market_id, size=_COMMENTS_AT_ONCE):
        if fields is None:
            fields = {name: value for name, value in rows[0].items() if name != "comment"}
        comments += [row["comment"] for row in rows if row["comment"] is not None]
    if fields is None or fields["market"] is None:
        return None
    return msgspec.convert({**fields, "comments": comments}, SnapshotSource)


async def markets(db: Pool | Connection) -> list[MarketId]:
    """Return the ids of the markets that a daily run includes: those with comments or with entries in the vote log."""
    return [row["market_id"] for row in await db.fetch(_MARKETS)]
