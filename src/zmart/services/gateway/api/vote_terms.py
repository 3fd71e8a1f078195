"""Who may vote on a market and whether its dispute waits for review, as the API tells it."""

from __future__ import annotations

import asyncio

import msgspec

from zmart.client.shapes.markets import DisputeReview
from zmart.client.shapes.votes import VoteTerms
from zmart.market.times import iso
from zmart.market.types import MarketId, VoteKind
from zmart.settings import Settings
from zmart.store import dispute_reviews, vote_rules
from zmart.store.pool import Pool
from zmart.votes.eligibility import terms_of


class MarketVoting(msgspec.Struct, frozen=True):
    """The terms of a market's votes: fixed ones, else those of the settings; and the review of its dispute."""

    terms: tuple[VoteTerms, ...]
    review: dispute_reviews.DisputeReviewRow | None


async def of_market(pool: Pool, settings: Settings, market_id: MarketId) -> MarketVoting:
    """Read the terms and the review of a market's votes."""
    found, review = await asyncio.gather(
        vote_rules.of_market(pool, market_id), dispute_reviews.find(pool, market_id)
    )
    terms = [
        _terms(kind, found.get(kind) or terms_of(settings, kind), fixed=kind in found) for kind in VoteKind
    ]
    return MarketVoting(tuple(terms), review)


def of_settings(settings: Settings) -> list[VoteTerms]:
    """Return the terms of votes that begin from now on."""
    return [_terms(kind, terms_of(settings, kind), fixed=False) for kind in VoteKind]


def review_of(found: dispute_reviews.DisputeReviewRow | None) -> DisputeReview | None:
    """Return a review as the API shows it."""
    if found is None:
        return None
    return DisputeReview(
        waits=found.waits,
        reasons=found.reasons,
        raised_at=iso(found.raised_at),
        released_at=iso(found.released_at),
    )


def _terms(kind: VoteKind, terms: vote_rules.VotingTerms, *, fixed: bool) -> VoteTerms:
    return VoteTerms(
        kind=kind.value,
        rule=terms.rule.text,
        words=terms.rule.sentence,
        min_votes=terms.min_votes,
        fixed=fixed,
    )
