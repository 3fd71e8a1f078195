"""Define the shapes of votes, their receipts and proofs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec import Struct

from zmart.market.types import Address, MarketId, Wallet


class VoteTerms(Struct, frozen=True, kw_only=True):
    """Who may vote: `rule` as in the memo on chain (open, funded;N, staked;N, listed;CID), `words` for people.

    With fewer than `min_votes` votes nothing is decided. `fixed`: these terms apply to this vote, whatever the settings
    say later.
    """

    kind: str
    rule: str
    words: str
    min_votes: int
    fixed: bool


class Vote(Struct, frozen=True, kw_only=True):
    """A vote. `vote` true: like, or agree that the proposed outcome is wrong.

    `proven`: signed by the wallet itself. `late`: it came after its vote had closed. `counted`: it is not late, and
    its wallet may vote.
    """

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
    counted: bool
    created_at: str
    voted_at: str


class VoteStats(Struct, frozen=True, kw_only=True):
    """The counts of a vote. `approval_rate` is in percent. `not_counted` is the number of further votes, of wallets
    that may not vote or are not judged yet."""

    likes: int
    dislikes: int
    total: int
    approval_rate: float
    unproven: int
    not_counted: int


class MarketVotes(Struct, frozen=True, kw_only=True):
    """A page of a market's votes."""

    votes: Sequence[Vote]
    stats: VoteStats
    market_id: MarketId
    type: str
    next_cursor: str | None = None


class UserVotes(Struct, frozen=True, kw_only=True):
    """A wallet's votes of both kinds."""

    proposal_votes: Sequence[Vote]
    dispute_votes: Sequence[Vote]
    total: int
    wallet: Wallet


class ProposalCount(Struct, frozen=True, kw_only=True):
    """The counts of a proposal vote."""

    likes: int
    dislikes: int
    not_counted: int


class DisputeCount(Struct, frozen=True, kw_only=True):
    """The counts of a dispute vote."""

    agrees: int
    disagrees: int
    not_counted: int


class VoteCounts(Struct, frozen=True, kw_only=True):
    """The counts of both votes of a market."""

    proposal_votes: ProposalCount
    dispute_votes: DisputeCount


class Receipt(Struct, frozen=True, kw_only=True):
    """The receipt of a vote: its position in the market's log, the log's size and root with it, and the vote's rule.

    `signature` is that of the backend authority over the receipt's text (docs/votes.md). It is null from a gateway
    that does not hold that key.
    """

    program: Address
    market_id: MarketId
    index: int
    leaf_hash: str
    tree_size: int
    root: str
    rule: str
    authority: Wallet | None
    signature: str | None


class VoteMetadata(Struct, frozen=True, kw_only=True):
    """What the vote was cast on and by whom, and a sentence for people."""

    message: str
    market_id: MarketId
    vote_type: str
    user_wallet: Wallet


class VoteAnswer(Struct, frozen=True, kw_only=True):
    """The vote that was cast, with its receipt."""

    data: Sequence[Vote]
    count: int
    metadata: VoteMetadata
    receipt: Receipt


class Inclusion(Struct, frozen=True):
    """One entry of a wallet and its audit path to the root. `leaf_hash` is the hash of the text `entry`; hashes are in
    hex."""

    index: int
    entry: str
    leaf_hash: str
    path: Sequence[str]


class Consistency(Struct, frozen=True):
    """A proof that the present log begins with the log that had `old_root` at `old_size`; hashes are in hex."""

    old_size: int
    old_root: str
    path: Sequence[str]


class Proof(Struct, frozen=True, kw_only=True):
    """All votes of one wallet on a market, proven against one head of the market's log. `rules` says who may vote, by
    kind of vote."""

    market_id: MarketId
    wallet: Wallet
    tree_size: int
    root: str
    entries: Sequence[Inclusion]
    rules: Mapping[str, str]
    consistency: Consistency | None = None
