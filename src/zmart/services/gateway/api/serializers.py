"""Convert rows of the store to the shapes of the API."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, TypeVar

import msgspec

from zmart.client.shapes import markets as shapes
from zmart.client.shapes.people import Discussion
from zmart.client.shapes.tape import Trade
from zmart.market.amounts import price_text
from zmart.market.deadlines import Deadlines
from zmart.market.fold_config import ConfigFold
from zmart.market.outcomes import final_outcome_name, side_name
from zmart.market.published import same_named
from zmart.market.tally import Tally
from zmart.market.times import iso
from zmart.market.types import PRICE_ONE, Address, Bps, Lamports, PriceE9, Shares, Slot
from zmart.services.gateway.api.vote_terms import MarketVoting, review_of
from zmart.settings import Settings
from zmart.store.discussions import CommentRow
from zmart.store.documents import Document
from zmart.store.markets import MarketRow
from zmart.store.trades import TradeRow
from zmart.votes.policy import deadlines_of

DRAFT = "DRAFT"
MarketShape = TypeVar("MarketShape", bound=shapes.Market)


class DocumentTerms(msgspec.Struct, frozen=True):
    """The amounts in the document of a question, in units of 1e-9; 0 if the document has none."""

    b_parameter: Shares = Shares(0)
    initial_liquidity: Lamports = Lamports(0)


class FinalizationPolicy(msgspec.Struct, frozen=True):
    """The rules that decide when a market can be finalized: the program's, which are None before they are indexed, and
    the settings."""

    rules: ConfigFold | None
    settings: Settings

    @property
    def approval_threshold(self) -> Bps | None:
        """Return the share of likes in basis points that approves a proposal; None before the program's rules are
        indexed."""
        return None if self.rules is None else self.rules.proposal_approval_threshold

    @property
    def dispute_threshold(self) -> Bps | None:
        """Return the share of agreeing votes in basis points with which a dispute succeeds; None before the program's
        rules are indexed."""
        return None if self.rules is None else self.rules.dispute_success_threshold

    @property
    def deadlines(self) -> Deadlines | None:
        """Return the backend's deadlines for acting on a market; None before the program's rules are indexed."""
        if self.rules is None:
            return None
        return deadlines_of(self.settings, self.rules.dispute_period)

    @property
    def voting(self) -> timedelta:
        """Return the duration of a vote on a dispute, by DISPUTE_VOTING_HOURS."""
        return timedelta(hours=self.settings.dispute_voting_hours)


def market(row: MarketRow, policy: FinalizationPolicy) -> shapes.Market:
    """Return a market in the shape in which lists contain it."""
    return _market(shapes.Market, row, policy)


def search_hit(row: MarketRow, rank: float, policy: FinalizationPolicy) -> shapes.FoundMarket:
    """Return a market that a search matched, with its rank."""
    return _market(shapes.FoundMarket, row, policy, rank=round(rank, 6))


def detail(row: MarketRow, voting: MarketVoting, policy: FinalizationPolicy) -> shapes.MarketDetail:
    """Return a market with details: votes, dispute, fees, and who may vote."""
    return _market(
        shapes.MarketDetail,
        row,
        policy,
        ipfs_evidence_hash=row.evidence_cid,
        proposal=_tally(
            row.proposal_likes,
            row.proposal_dislikes,
            policy.approval_threshold,
            iso(row.proposal_aggregated_at),
        ),
        dispute=_tally(row.dispute_agree, row.dispute_disagree, policy.dispute_threshold),
        dispute_window=_window(row, policy),
        accumulated_fees=shapes.Fees(
            protocol=row.accumulated_protocol_fees,
            resolver=row.accumulated_resolver_fees,
            liquidity_provider=row.accumulated_lp_fees,
        ),
        pricing_model=policy.settings.pricing_model,
        vote_rules=voting.terms,
        dispute_review=review_of(voting.review),
    )


def draft(document: Document, address: Address, policy: FinalizationPolicy) -> shapes.Market:
    """Return a draft in the shape of a market, with the state DRAFT. Nothing of it is on chain yet, and only its
    creator may see it."""
    terms = msgspec.json.decode(document.document, type=DocumentTerms)
    row = MarketRow(
        market_id=document.market_id,
        address=address,
        creator=document.creator,
        state=DRAFT,
        b_parameter=terms.b_parameter,
        initial_liquidity=terms.initial_liquidity,
        current_liquidity=Lamports(0),
        shares_yes=Shares(0),
        shares_no=Shares(0),
        question=document.question,
        description=document.description,
        category=document.category,
        tags=document.tags,
        question_cid=document.cid,
        created_at=document.created_at,
        ends_at=document.ends_at,
        text_status="available",
        price_yes_e9=PriceE9(PRICE_ONE // 2),
        created_slot=Slot(0),
        updated_slot=Slot(0),
    )
    return market(row, policy)


def trade(row: TradeRow) -> Trade:
    """Return a trade in the shape of the API, from its row."""
    moment = iso(row.traded_at)
    return Trade(
        id=f"{row.signature}:{row.ordinal}",
        market_id=row.market_id,
        user=row.wallet,
        user_wallet=row.wallet,
        trade_type=row.side,
        outcome=side_name(row.outcome),
        outcome_bool=row.outcome,
        shares=row.shares,
        cost=row.cost_lamports,
        fees=row.fees_lamports,
        price_after=price_text(row.price_yes_after_e9),
        tx_signature=row.signature,
        slot=row.slot,
        timestamp=moment,
        created_at=moment,
    )


def comment(row: CommentRow) -> Discussion:
    """Return a comment in the shape of the API, from its row."""
    return Discussion(
        id=str(row.id),
        market_id=row.market_id,
        user_wallet=row.wallet,
        user=row.wallet,
        content=row.content,
        parent_id=None if row.parent_id is None else str(row.parent_id),
        created_at=iso(row.created_at),
    )


def outcome_word(row: MarketRow) -> str | None:
    """Return the outcome of a market in a word: YES, NO or INVALID once it is finalized, before that the proposed
    outcome; None without one."""
    if row.state == "FINALIZED":
        return final_outcome_name(row.final_outcome)
    return None if row.proposed_outcome is None else side_name(row.proposed_outcome)


def finalize_after(row: MarketRow, policy: FinalizationPolicy) -> datetime | None:
    """Return when the backend finalizes a market: FINALIZE_SAFETY_S after the end of the dispute window (RESOLVING) or
    of the dispute's vote (DISPUTED). The window is the longer one of the program's and the settings'. None in any other
    state, and before the program's rules are indexed."""
    deadlines = policy.deadlines
    if deadlines is None:
        return None
    safety = timedelta(seconds=deadlines.safety_s)
    if row.state == "DISPUTED" and row.dispute_initiated_at is not None:
        return row.dispute_initiated_at + policy.voting + safety
    if row.state != "RESOLVING" or row.resolution_proposed_at is None:
        return None
    return row.resolution_proposed_at + timedelta(seconds=deadlines.resolution_s) + safety


def _window(row: MarketRow, policy: FinalizationPolicy) -> shapes.DisputeWindow:
    opens, started = row.resolution_proposed_at, row.dispute_initiated_at
    rules = policy.rules
    closes = None if opens is None or rules is None else opens + timedelta(seconds=rules.dispute_period)
    return shapes.DisputeWindow(
        opens_at=iso(opens),
        closes_at=iso(closes),
        initiator=row.dispute_initiator,
        initiated_at=iso(started),
        voting_ends_at=iso(None if started is None else started + policy.voting),
    )


def _tally(votes_for: int, against: int, threshold: Bps | None, at: str | None = None) -> shapes.VoteTally:
    tally = Tally(votes_for, against)
    return shapes.VoteTally(
        votes_for=votes_for,
        votes_against=against,
        total=tally.total,
        bps=tally.bps,
        threshold_bps=threshold,
        recorded_at=at,
    )


def _market(
    shape: type[MarketShape],
    row: MarketRow,
    policy: FinalizationPolicy,
    **more: Any,  # noqa: ANN401  # fields of any type
) -> MarketShape:
    """Return a market in the shape `shape`: columns of the row, renamed or computed fields, and `more` fields that only
    this shape has."""
    return shape(
        **same_named(row, shape),
        id=row.market_id,
        on_chain_address=row.address,
        status=row.state,
        creator_wallet=row.creator,
        liquidity_parameter=row.b_parameter,
        total_yes_shares=row.shares_yes,
        total_no_shares=row.shares_no,
        current_price_yes=price_text(row.price_yes_e9),
        current_price_no=price_text(PRICE_ONE - row.price_yes_e9),
        total_trades=row.trades_count,
        finalize_after=iso(finalize_after(row, policy)),
        outcome=outcome_word(row),
        **more,
    )
