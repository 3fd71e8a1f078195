"""Define the shapes of users: profile, positions, results, comments, sign-in."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from zmart.market.types import Lamports, MarketId, Shares, Wallet


class UserCounts(Struct, frozen=True, kw_only=True):
    """The numbers of a wallet's trades, votes, comments and markets."""

    total_trades: int
    total_votes: int
    proposal_votes: int
    dispute_votes: int
    discussions: int
    markets_created: int


class User(Struct, frozen=True, kw_only=True):
    """A wallet's profile. A wallet without a profile has the same shape with nulls."""

    wallet: Wallet
    display_name: str | None
    bio: str | None
    avatar_url: str | None
    twitter_handle: str | None
    created_at: str | None
    updated_at: str | None
    stats: UserCounts


class WalletBalance(Struct, frozen=True, kw_only=True):
    """The lamports that a wallet holds on chain now; shares do not count."""

    wallet: Wallet
    lamports: Lamports


class UserStats(Struct, frozen=True, kw_only=True):
    """A wallet's results. `*_pnl` is profit or loss in lamports; `win_rate` is the percentage of settled positions with
    a gain."""

    wallet: Wallet
    total_trades: int
    total_volume: Lamports
    realized_pnl: Lamports
    unrealized_pnl: Lamports
    total_pnl: Lamports
    total_invested: Lamports
    active_positions: int
    settled_positions: int
    won_positions: int
    win_rate: float
    total_votes: int
    comments: int


class UserPosition(Struct, frozen=True, kw_only=True):
    """A position with amounts as integers of 1e-9 in text, as existing clients read them; `roi` in percent."""

    market_id: MarketId
    question: str
    shares_yes: str
    shares_no: str
    total_invested: str
    current_value: str
    unrealized_pnl: str
    roi: float
    state: int


class Position(Struct, frozen=True, kw_only=True):
    """A wallet's position in a market, with amounts as integers."""

    id: str
    market_id: MarketId
    user: Wallet
    yes_shares: Shares
    no_shares: Shares
    created_at: str
    updated_at: str


class PortfolioPosition(Struct, frozen=True, kw_only=True):
    """A position of a portfolio, with its cost and its present value.

    `cost_basis` is the cost of the shares held. In a FINALIZED market it is all that was paid, also after the claim;
    `current_value` is what a claim would pay, 0 once it is `claimed`, and `realized_pnl` contains the claim's profit,
    or the loss if there is nothing to claim."""

    market_id: MarketId
    question: str
    state: str
    shares_yes: Shares
    shares_no: Shares
    average_cost_yes: str
    average_cost_no: str
    cost_basis: Lamports
    current_value: Lamports
    realized_pnl: Lamports
    unrealized_pnl: Lamports
    has_claimed: bool
    claimed: Lamports


class ValuePoint(Struct, frozen=True, kw_only=True):
    """A portfolio at one time: `value` and `invested` are the value and the cost of the shares held then,
    `realized_pnl` is the profit or loss realized until then."""

    timestamp: str
    value: Lamports
    invested: Lamports
    realized_pnl: Lamports


class Portfolio(Struct, frozen=True, kw_only=True):
    """A wallet's positions and the history of their value.

    Positions in FINALIZED markets are closed, also while a claim waits. `value` is the value of all shares, with claims
    that wait, and `cost_basis` what these shares cost; `unrealized_pnl` is the difference."""

    wallet: Wallet
    value: Lamports
    cost_basis: Lamports
    realized_pnl: Lamports
    unrealized_pnl: Lamports
    open_positions: Sequence[PortfolioPosition]
    closed_positions: Sequence[PortfolioPosition]
    history: Sequence[ValuePoint]


class Leader(Struct, frozen=True, kw_only=True):
    """A wallet in the leaderboard, with its rank, profit and volume."""

    rank: int
    wallet: Wallet
    display_name: str | None
    pnl: Lamports
    volume: Lamports
    trades: int


class Leaderboard(Struct, frozen=True, kw_only=True):
    """The wallets with the highest profit or volume within `window`, the highest first."""

    leaders: Sequence[Leader]
    count: int
    by: str
    window: str


class Holder(Struct, frozen=True, kw_only=True):
    """A wallet's position in a market; percentages are of all YES shares and of all NO shares."""

    wallet: Wallet
    shares_yes: Shares
    shares_no: Shares
    percent_yes: float
    percent_no: float
    total_invested: Lamports
    trades: int
    has_claimed: bool
    claimed_lamports: Lamports


class Holders(Struct, frozen=True, kw_only=True):
    """A page of a market's positions, the largest first: `holders` of both sides, `yes` and `no` of one side each. The
    counts are of all positions, not of those on this page."""

    market_id: MarketId
    holders: Sequence[Holder]
    yes: Sequence[Holder]
    no: Sequence[Holder]
    count: int
    yes_count: int
    no_count: int


class Discussion(Struct, frozen=True, kw_only=True):
    """A comment on a market."""

    id: str
    market_id: MarketId
    user_wallet: Wallet
    user: Wallet
    content: str
    parent_id: str | None
    created_at: str


class Discussions(Struct, frozen=True, kw_only=True):
    """A page of the comments on a market."""

    discussions: Sequence[Discussion]
    count: int
    market_id: MarketId
    next_cursor: str | None = None


class DiscussionAnswer(Struct, frozen=True, kw_only=True):
    """The comment that was written, and a sentence for people."""

    message: str
    discussion: Discussion


class Message(Struct, frozen=True, kw_only=True):
    """An answer that is only a sentence for people."""

    message: str


class DiscussionSnapshot(Struct, frozen=True, kw_only=True):
    """A snapshot of a market's comments and votes that was pinned to IPFS; `unpinned_at` is set once it is unpinned."""

    cid: str
    date: str
    comments: int
    previous_cid: str | None
    size_bytes: int
    provider: str
    pinned_at: str
    verified_at: str | None
    unpin_after: str | None
    unpinned_at: str | None


class DiscussionSnapshots(Struct, frozen=True, kw_only=True):
    """The pinned snapshots of a market."""

    snapshots: Sequence[DiscussionSnapshot]
    count: int
    market_id: MarketId


class Nonce(Struct, frozen=True, kw_only=True):
    """A challenge to sign in; `message` is the exact text to sign."""

    nonce: str
    message: str
    expires_at: str


class Session(Struct, frozen=True, kw_only=True):
    """A session's token and its expiry."""

    token: str
    expires_at: str
    wallet: Wallet
