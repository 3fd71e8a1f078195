"""Votes, their receipts and proofs."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from zmart.market.types import Address, MarketId, Wallet


class Vote(Struct, frozen=True, kw_only=True):
    """`vote` true: like, or agree that the proposed outcome is wrong. `proven`: signed by the wallet itself. `late`: it
    came after its vote had closed and is not counted."""

    id: str
    market_id: MarketId
    user_wallet: Wallet
    user: Wallet
    vote: bool
    vote_choice: str
    vote_type: str
    channel: str
    proven: bool
    late: bool
    created_at: str
    voted_at: str


class VoteStats(Struct, frozen=True, kw_only=True):
    """`approval_rate` in percent."""

    likes: int
    dislikes: int
    total: int
    approval_rate: float
    unproven: int


class MarketVotes(Struct, frozen=True, kw_only=True):
    votes: Sequence[Vote]
    stats: VoteStats
    market_id: MarketId
    type: str
    next_cursor: str | None = None


class UserVotes(Struct, frozen=True, kw_only=True):
    proposal_votes: Sequence[Vote]
    dispute_votes: Sequence[Vote]
    total: int
    wallet: Wallet


class ProposalCount(Struct, frozen=True, kw_only=True):
    likes: int
    dislikes: int


class DisputeCount(Struct, frozen=True, kw_only=True):
    agrees: int
    disagrees: int


class VoteCounts(Struct, frozen=True, kw_only=True):
    proposal_votes: ProposalCount
    dispute_votes: DisputeCount


class Receipt(Struct, frozen=True, kw_only=True):
    """The vote's place in the market's log and the log's head after it. `signature` is the backend authority's
    over the receipt's text (docs/votes.md); None from a gateway that does not hold that key."""

    program: Address
    market_id: MarketId
    index: int
    leaf_hash: str
    tree_size: int
    root: str
    authority: Wallet | None
    signature: str | None


class VoteMetadata(Struct, frozen=True, kw_only=True):
    message: str
    market_id: MarketId
    vote_type: str
    user_wallet: Wallet


class VoteAnswer(Struct, frozen=True, kw_only=True):
    data: Sequence[Vote]
    count: int
    metadata: VoteMetadata
    receipt: Receipt


class Inclusion(Struct, frozen=True):
    """One entry of a wallet and its audit path to the root (hex); `entry` is the text that the leaf covers."""

    index: int
    entry: str
    leaf_hash: str
    path: Sequence[str]


class Consistency(Struct, frozen=True):
    """That the present log begins with the one that had `old_root` at `old_size` (hex)."""

    old_size: int
    old_root: str
    path: Sequence[str]


class Proof(Struct, frozen=True, kw_only=True):
    """Everything about one wallet's votes on a market, against one head of its log."""

    market_id: MarketId
    wallet: Wallet
    tree_size: int
    root: str
    entries: Sequence[Inclusion]
    consistency: Consistency | None = None
