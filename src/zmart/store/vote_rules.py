"""Store the terms of votes: who may vote, and how many votes are needed. They are fixed once for each vote."""

from __future__ import annotations

import msgspec

from zmart.market.eligibility import OPEN, Rule
from zmart.market.types import MarketId, VoteKind
from zmart.store.pool import Connection, Pool

# A row is never changed: a transaction that finds a row reads the terms in it.
_FIX = """
WITH mine AS (
    INSERT INTO vote_rules (market_id, kind, rule, min_votes) VALUES ($1, $2, $3, $4)
    ON CONFLICT (market_id, kind) DO NOTHING RETURNING rule, min_votes)
SELECT rule, min_votes FROM mine
UNION ALL SELECT rule, min_votes FROM vote_rules WHERE (market_id, kind) = ($1, $2) LIMIT 1
"""
_FIND = "SELECT rule, min_votes FROM vote_rules WHERE (market_id, kind) = ($1, $2)"
_OF_MARKET = "SELECT kind, rule, min_votes FROM vote_rules WHERE market_id = $1"
_FIX_OPEN = """
INSERT INTO vote_rules (market_id, kind, rule, min_votes)
SELECT m.market_id, t.kind, t.rule, t.min_votes
FROM (VALUES ('PROPOSED', 'proposal', $1::text, $2::integer), ('DISPUTED', 'dispute', $3::text, $4::integer))
    AS t (state, kind, rule, min_votes)
JOIN markets m ON m.state = t.state
WHERE NOT EXISTS (SELECT FROM vote_rules r WHERE (r.market_id, r.kind) = (m.market_id, t.kind))
ON CONFLICT (market_id, kind) DO NOTHING
"""


class VotingTerms(msgspec.Struct, frozen=True):
    """The terms of a vote: `rule` says who may vote, `min_votes` is the minimum number of votes for a decision."""

    rule: Rule
    min_votes: int


OPEN_TO_ALL = VotingTerms(OPEN, 1)


async def fix(db: Pool | Connection, market_id: MarketId, kind: VoteKind, terms: VotingTerms) -> VotingTerms:
    """Return the terms that are fixed for the market's vote of this kind. If none are fixed yet, `terms` are fixed
    now."""
    for _ in range(2):  # a row that another transaction wrote meanwhile is visible to the second statement
        row = await db.fetchrow(_FIX, market_id, kind.value, terms.rule.text, terms.min_votes)
        if row is not None:
            break
    assert row is not None
    return VotingTerms(Rule.parse(row["rule"]), row["min_votes"])


async def fix_open(db: Pool | Connection, proposals: VotingTerms, disputes: VotingTerms) -> None:
    """Fix the terms of every open vote without terms. `proposals` are for markets in PROPOSED, `disputes` for
    markets in DISPUTED."""
    arguments = (proposals.rule.text, proposals.min_votes, disputes.rule.text, disputes.min_votes)
    await db.execute(_FIX_OPEN, *arguments)


async def find(db: Pool | Connection, market_id: MarketId, kind: VoteKind) -> VotingTerms | None:
    """Return the terms of the market's vote of this kind; None before they are fixed."""
    row = await db.fetchrow(_FIND, market_id, kind.value)
    return None if row is None else VotingTerms(Rule.parse(row["rule"]), row["min_votes"])


async def of_market(db: Pool | Connection, market_id: MarketId) -> dict[VoteKind, VotingTerms]:
    """Return the terms of the market's votes by kind; kinds without fixed terms are left out."""
    rows = await db.fetch(_OF_MARKET, market_id)
    return {VoteKind(row["kind"]): VotingTerms(Rule.parse(row["rule"]), row["min_votes"]) for row in rows}
