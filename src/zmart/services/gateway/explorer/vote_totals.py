"""Compare the votes on a market with their thresholds, for the panels of its page."""

from __future__ import annotations

import msgspec

from zmart.client.shapes.votes import VoteTerms
from zmart.market.outcomes import choice_name, side_name
from zmart.market.tally import Tally
from zmart.market.types import Bps, VoteKind
from zmart.services.gateway.api.serializers import FinalizationPolicy
from zmart.services.gateway.api.vote_terms import MarketVoting
from zmart.store.markets import MarketRow


class VotePanel(msgspec.Struct, frozen=True, kw_only=True):
    """The content of the panel about one vote on a market. `threshold_bps` is None before the program's rules are
    indexed."""

    kind: str
    title: str
    question: str
    word_for: str
    word_against: str
    choice_for: str
    choice_against: str
    tally: Tally
    threshold_bps: Bps | None
    not_counted: int
    terms: VoteTerms
    is_open: bool


class VoteTotals(msgspec.Struct, frozen=True):
    """The totals of one vote on a market: the tally, how many votes do not count, and the terms by which wallets may
    vote."""

    tally: Tally
    not_counted: int
    terms: VoteTerms


def totals_by_kind(
    counts: dict[VoteKind, Tally], not_counted: dict[VoteKind, int], voting: MarketVoting
) -> dict[VoteKind, VoteTotals]:
    """Return the totals of a market's proposal vote and dispute vote."""
    return {
        kind: VoteTotals(
            counts[kind], not_counted[kind], next(t for t in voting.terms if t.kind == kind.value)
        )
        for kind in VoteKind
    }


def of_market(
    row: MarketRow, totals: dict[VoteKind, VoteTotals], policy: FinalizationPolicy, *, is_over: bool
) -> list[VotePanel]:
    """Return the panels of the votes that have begun, the latest first. `is_over`: the vote of the market's present
    state has ended."""
    proposal = _panel(
        VoteKind.PROPOSAL,
        totals,
        question="Should this become a market?",
        labels=("for", "against"),
        threshold_bps=policy.approval_threshold,
        is_open=row.state == "PROPOSED" and not is_over,
    )
    if row.dispute_initiated_at is None:
        return [proposal]
    dispute = _panel(
        VoteKind.DISPUTE,
        totals,
        question=f"Is the proposed outcome {side_name(bool(row.proposed_outcome))} wrong?",
        labels=("say wrong", "say right"),
        threshold_bps=policy.dispute_threshold,
        is_open=row.state == "DISPUTED" and not is_over,
    )
    return [dispute, proposal]


def _panel(
    kind: VoteKind,
    totals: dict[VoteKind, VoteTotals],
    *,
    question: str,
    labels: tuple[str, str],
    threshold_bps: Bps | None,
    is_open: bool,
) -> VotePanel:
    return VotePanel(
        kind=kind.value,
        title=f"Vote on the {kind.value}",
        question=question,
        word_for=labels[0],
        word_against=labels[1],
        choice_for=choice_name(kind, True),
        choice_against=choice_name(kind, False),
        tally=totals[kind].tally,
        not_counted=totals[kind].not_counted,
        terms=totals[kind].terms,
        threshold_bps=threshold_bps,
        is_open=is_open,
    )
