"""Read a market's voting terms, the review of its dispute and the market's version in one statement."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from zmart.market.eligibility import Rule
from zmart.market.identifiers import MarketRef
from zmart.market.types import MarketId, VoteKind
from zmart.store.dispute_reviews import DisputeReviewRow
from zmart.store.documents import OF_MARKET
from zmart.store.markets import MarketVersion
from zmart.store.pool import Pool
from zmart.store.vote_rules import VotingTerms

COLUMNS = """
pv.rule AS proposal_rule, pv.min_votes AS proposal_min_votes, dv.rule AS dispute_rule,
dv.min_votes AS dispute_min_votes, r.reasons AS review_reasons, r.raised_at AS review_raised_at,
r.released_at AS review_released_at, r.released_by AS review_released_by, r.note AS review_note
"""
JOINS = """
LEFT JOIN vote_rules pv ON (pv.market_id, pv.kind) = (m.market_id, 'proposal')
LEFT JOIN vote_rules dv ON (dv.market_id, dv.kind) = (m.market_id, 'dispute')
LEFT JOIN dispute_reviews r ON r.market_id = m.market_id
"""
# xmin is the transaction that wrote a version of a row.
_VERSION = f"""
SELECT m.market_id, m.xid, d.xmin, {COLUMNS} FROM (SELECT xmin AS xid, * FROM markets) m
LEFT JOIN market_documents d ON {OF_MARKET} {JOINS}
"""
_OF_MARKET = f"SELECT {COLUMNS} FROM markets m {JOINS} WHERE m.market_id = $1"
_VERSION_OF_ONE = f"{_VERSION} WHERE m.market_id = $1"
_VERSION_BY_ADDRESS = f"{_VERSION} WHERE m.address = $1"


class VotingRow(msgspec.Struct, frozen=True):
    """The voting terms of a market and the review of its dispute. The terms of a vote are None before they are fixed;
    `review` is None if none was requested."""

    proposal_rule: str | None
    proposal_min_votes: int | None
    dispute_rule: str | None
    dispute_min_votes: int | None
    review: DisputeReviewRow | None

    def terms(self, kind: VoteKind) -> VotingTerms | None:
        """Return the terms of the market's vote of this kind; None before they are fixed."""
        if kind is VoteKind.PROPOSAL:
            return _terms(self.proposal_rule, self.proposal_min_votes)
        return _terms(self.dispute_rule, self.dispute_min_votes)


async def of_market(pool: Pool, market_id: MarketId) -> VotingRow:
    """Return the voting terms and the review of a market. All fields are None for a market that is not indexed."""
    row = await pool.fetchrow(_OF_MARKET, market_id)
    return VotingRow(None, None, None, None, None) if row is None else _voting(market_id, tuple(row))


async def with_version(pool: Pool, ref: MarketRef) -> tuple[MarketVersion, VotingRow] | None:
    """Return the current version of a market with its voting terms and review; None if the market is not indexed."""
    row = await pool.fetchrow(_VERSION_OF_ONE if ref.id else _VERSION_BY_ADDRESS, str(ref))
    if row is None:
        return None
    market_id, market_xid, document_xid, *voting = row
    return MarketVersion(market_id, market_xid, document_xid), _voting(market_id, voting)


def _terms(rule: str | None, min_votes: int | None) -> VotingTerms | None:
    return None if rule is None or min_votes is None else VotingTerms(Rule.parse(rule), min_votes)


def _voting(market_id: MarketId, row: Sequence[Any]) -> VotingRow:
    rule, min_votes, dispute_rule, dispute_min_votes, reasons, raised_at, released_at, released_by, note = row
    review = None
    if reasons is not None:
        review = DisputeReviewRow(market_id, tuple(reasons), raised_at, released_at, released_by, note)
    return VotingRow(rule, min_votes, dispute_rule, dispute_min_votes, review)
