"""Report who may vote on a market, and whether its dispute waits for review."""

from __future__ import annotations

import msgspec

from zmart.client.shapes.markets import DisputeReview
from zmart.client.shapes.votes import VoteTerms
from zmart.market.times import iso
from zmart.market.types import VoteKind
from zmart.settings import Settings
from zmart.store import dispute_reviews, vote_rules
from zmart.store.market_voting import VotingRow
from zmart.votes.eligibility import terms_of


class MarketVoting(msgspec.Struct, frozen=True):
    """The terms of a market's votes (who may vote, and how many votes are needed) and the review of its dispute, None
    without one. Terms that are not fixed for the market are those of the settings."""

    terms: tuple[VoteTerms, ...]
    review: dispute_reviews.DisputeReviewRow | None


def of_row(settings: Settings, row: VotingRow) -> MarketVoting:
    """Return the terms of a market's votes and the review of its dispute, from the stored row and the settings."""
    terms = []
    for kind in VoteKind:
        fixed_terms = row.terms(kind)
        terms.append(_terms(kind, fixed_terms or terms_of(settings, kind), fixed=fixed_terms is not None))
    return MarketVoting(tuple(terms), row.review)


def of_settings(settings: Settings) -> list[VoteTerms]:
    """Return the terms of votes that begin from now on, which are those of the settings."""
    return [_terms(kind, terms_of(settings, kind), fixed=False) for kind in VoteKind]


def review_of(row: dispute_reviews.DisputeReviewRow | None) -> DisputeReview | None:
    """Return a dispute's review in the shape of the API, without the operator's note; None if there is no review."""
    if row is None:
        return None
    return DisputeReview(
        waits=row.waits,
        reasons=row.reasons,
        raised_at=iso(row.raised_at),
        released_at=iso(row.released_at),
    )


def _terms(kind: VoteKind, terms: vote_rules.VotingTerms, *, fixed: bool) -> VoteTerms:
    return VoteTerms(
        kind=kind.value,
        rule=terms.rule.text,
        words=terms.rule.sentence,
        min_votes=terms.min_votes,
        fixed=fixed,
    )
