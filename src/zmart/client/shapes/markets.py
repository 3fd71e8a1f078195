"""Define the shapes of markets: a market in a list, a market with its details, and lists of markets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from msgspec import Struct

from zmart.client.shapes.votes import VoteTerms
from zmart.market.types import Address, Bps, Lamports, MarketId, Shares, Slot, Wallet


class Market(Struct, frozen=True, kw_only=True):
    """A market in a list. Several values have two names, since older clients read the second one.

    `proposed_outcome` and `final_outcome`: true YES, false NO, null not decided; `outcome` is a word, INVALID
    included. `state` is DRAFT for a market whose creation was not sent to the chain yet. The text (question to tags,
    `ends_at`) is that of the document which the market's CID on chain names, whether or not the creator wrote it.
    `text_status`: `not_available` if no node has served the document yet, `not_a_market_document` if the CID names
    another file.
    """

    id: MarketId
    on_chain_address: Address
    question: str
    description: str
    category: str
    tags: Sequence[str]
    text_status: Literal["available", "not_available", "not_a_market_document"]
    state: str
    status: str
    creator_wallet: Wallet
    creator: Wallet
    b_parameter: Shares
    liquidity_parameter: Shares
    initial_liquidity: Lamports
    current_liquidity: Lamports
    shares_yes: Shares
    shares_no: Shares
    total_yes_shares: Shares
    total_no_shares: Shares
    current_price_yes: str
    current_price_no: str
    total_volume: Lamports
    total_trades: int
    traders: int
    created_at: str
    approved_at: str | None
    activated_at: str | None
    resolution_proposed_at: str | None
    finalize_after: str | None
    ends_at: str | None
    finalized_at: str | None
    cancelled_at: str | None
    proposed_outcome: bool | None
    final_outcome: bool | None
    outcome: str | None
    was_disputed: bool


class VoteTally(Struct, frozen=True, kw_only=True):
    """The counts of a vote as recorded on chain. `votes_for` counts likes, or votes that the proposed outcome is
    wrong; `bps` is their share in basis points."""

    votes_for: int
    votes_against: int
    total: int
    bps: Bps
    threshold_bps: Bps | None
    recorded_at: str | None = None


class DisputeWindow(Struct, frozen=True, kw_only=True):
    """When a proposed outcome can be disputed, and who disputed it. Votes on the dispute count until
    `voting_ends_at`."""

    opens_at: str | None
    closes_at: str | None
    initiator: Wallet | None
    initiated_at: str | None
    voting_ends_at: str | None


class Fees(Struct, frozen=True, kw_only=True):
    """The fees that a market has collected so far, in lamports."""

    protocol: Lamports
    resolver: Lamports
    liquidity_provider: Lamports


class DisputeReview(Struct, frozen=True, kw_only=True):
    """A dispute result that a person is asked to review.

    While it `waits` under DISPUTE_REVIEW=hold, the market is not finalized.
    """

    waits: bool
    reasons: Sequence[str]
    raised_at: str
    released_at: str | None


class MarketDetail(Market, frozen=True, kw_only=True):
    """A market with its votes, its dispute, its fees and the rules of its votes."""

    resolver: Wallet | None
    question_cid: str | None
    evidence_cid: str | None
    ipfs_evidence_hash: str | None
    proposal: VoteTally
    dispute: VoteTally
    dispute_window: DisputeWindow
    accumulated_fees: Fees
    claimed_shares: Shares
    pricing_model: str
    created_slot: Slot
    updated_slot: Slot
    vote_rules: Sequence[VoteTerms]
    dispute_review: DisputeReview | None


class Markets(Struct, frozen=True, kw_only=True):
    """A page of markets. `count` is the number of all markets that match, not of those on this page."""

    markets: Sequence[Market]
    count: int
    offset: int
    limit: int
    next_cursor: str | None = None


class TrendingMarket(Struct, frozen=True, kw_only=True, rename="camel"):
    """A market with recent activity. Prices 0 to 1, the change over 24 hours in percentage points, the volume in
    SOL."""

    id: MarketId
    question: str
    yes_price: float
    change24h: float
    volume24h: float
    unique_traders: int
    trending_score: float


class TrendingMarkets(Struct, frozen=True, kw_only=True):
    """The markets with the most activity in the last 24 hours, the most active first."""

    trending: Sequence[TrendingMarket]
    count: int


class Category(Struct, frozen=True, kw_only=True):
    """A category of markets. `trend` is by how much the number of its markets grew within seven days, as "+12%"."""

    id: str
    name: str
    count: int
    emoji: str
    trend: str


class Categories(Struct, frozen=True, kw_only=True):
    """All categories of markets."""

    categories: Sequence[Category]
    count: int


class RelatedMarket(Struct, frozen=True, kw_only=True, rename="camel"):
    """A market that resembles the requested market. `category_match`: both have the same category."""

    id: MarketId
    question: str
    yes_price: float
    category: str
    category_match: bool


class RelatedMarkets(Struct, frozen=True, kw_only=True):
    """The markets that resemble the requested market."""

    related: Sequence[RelatedMarket]
    count: int


class FoundMarket(Market, frozen=True, kw_only=True):
    """A market that matches a search; a higher `rank` is a better match."""

    rank: float


class SearchResult(Struct, frozen=True, kw_only=True):
    """The markets that match the words of `q`, the best match first."""

    markets: Sequence[FoundMarket]
    count: int
    q: str


class TimelineEntry(Struct, frozen=True, kw_only=True):
    """A state change or another event of the market on chain, with the wallet that caused it.

    `details.is_debt` of a LiquidityWithdrawn: a wallet other than the creator received what the market owed that
    wallet. If a node truncated the transaction's log, `details` has the instruction and its arguments; the result is
    unknown.
    """

    event: str
    state: str | None
    timestamp: str
    actor: Wallet | None
    slot: Slot
    signature: str
    details: dict[str, object]


class Timeline(Struct, frozen=True, kw_only=True):
    """The events of a market on chain, oldest first."""

    market_id: MarketId
    timeline: Sequence[TimelineEntry]
    count: int
    next_cursor: str | None = None
