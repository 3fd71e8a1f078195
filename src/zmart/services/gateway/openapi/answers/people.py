"""Examples of answers about wallets, votes and comments."""

from __future__ import annotations

from msgspec import Struct

from zmart.client.shapes import people, votes
from zmart.market.types import Lamports
from zmart.services.gateway.openapi.answers import scenario
from zmart.services.gateway.openapi.declarations import A_COMMENT

_HELD = people.PortfolioPosition(
    market_id=scenario.MARKET,
    question=scenario.QUESTION,
    state="ACTIVE",
    shares_yes=scenario.SHARES,
    shares_no=scenario.NO_SHARES,
    average_cost_yes=scenario.AVERAGE_COST,
    average_cost_no="0.000000000",
    cost_basis=scenario.PAID,
    current_value=scenario.VALUE,
    realized_pnl=Lamports(0),
    unrealized_pnl=scenario.LOSS,
    has_claimed=False,
    claimed=Lamports(0),
)
_VALUE = people.ValuePoint(
    timestamp=scenario.TRADED, value=scenario.VALUE, invested=scenario.PAID, realized_pnl=Lamports(0)
)
_HOLDER = people.Holder(
    wallet=scenario.TRADER,
    shares_yes=scenario.SHARES,
    shares_no=scenario.NO_SHARES,
    percent_yes=100.0,
    percent_no=0.0,
    total_invested=scenario.PAID,
    trades=1,
    has_claimed=False,
    claimed_lamports=Lamports(0),
)
_LEADER = people.Leader(
    rank=1, wallet=scenario.TRADER, display_name="Ada", pnl=scenario.LOSS, volume=scenario.PAID, trades=1
)
_COMMENT = people.Discussion(
    id=A_COMMENT,
    market_id=scenario.MARKET,
    user_wallet=scenario.TRADER,
    user=scenario.TRADER,
    content="The harbour was open all winter.",
    parent_id=None,
    created_at=scenario.TRADED,
)
VOTE = votes.Vote(
    id="1",
    market_id=scenario.MARKET,
    user_wallet=scenario.TRADER,
    user=scenario.TRADER,
    vote=True,
    vote_choice="like",
    vote_type="proposal",
    channel="statement",
    proven=True,
    late=False,
    counted=True,
    created_at=scenario.CREATED,
    voted_at=scenario.CREATED,
)
_STATS = votes.VoteStats(likes=8, dislikes=2, total=10, approval_rate=80.0, unproven=0, not_counted=1)
_COUNTS = votes.VoteCounts(
    proposal_votes=votes.ProposalCount(likes=8, dislikes=2, not_counted=1),
    dispute_votes=votes.DisputeCount(agrees=0, disagrees=0, not_counted=0),
)
_COUNTED = people.UserCounts(
    total_trades=1, total_votes=1, proposal_votes=1, dispute_votes=0, discussions=1, markets_created=0
)
_USER = people.User(
    wallet=scenario.TRADER,
    display_name="Ada",
    bio="I watch the harbour.",
    avatar_url=None,
    twitter_handle=None,
    created_at=scenario.CREATED,
    updated_at=scenario.CREATED,
    stats=_COUNTED,
)
_RESULTS = people.UserStats(
    wallet=scenario.TRADER,
    total_trades=1,
    total_volume=scenario.PAID,
    realized_pnl=Lamports(0),
    unrealized_pnl=scenario.LOSS,
    total_pnl=scenario.LOSS,
    total_invested=scenario.PAID,
    active_positions=1,
    settled_positions=0,
    won_positions=0,
    win_rate=0.0,
    total_votes=1,
    comments=1,
)
_SNAPSHOT = people.DiscussionSnapshot(
    cid=scenario.QUESTION_CID,
    date="2026-01-15",
    comments=1,
    previous_cid=None,
    size_bytes=1_204,
    provider="pinata",
    pinned_at="2026-01-16T00:00:03.000Z",
    verified_at="2026-01-16T00:01:03.000Z",
    unpin_after="2026-02-15T00:00:03.000Z",
    unpinned_at=None,
)
_CHALLENGE = people.Nonce(
    nonce=scenario.NONCE,
    message=(
        f"zmart.example wants you to sign in with your Solana account:\n{scenario.TRADER}\n\n"
        "Sign in to ZMART. This costs nothing and sends no transaction.\n\n"
        f"URI: https://zmart.example\nVersion: 1\nChain ID: mainnet\nNonce: {scenario.NONCE}\n"
        "Issued At: 2026-01-15T12:00:00.000Z\nExpiration Time: 2026-01-15T12:05:00.000Z"
    ),
    expires_at="2026-01-15T12:05:00.000Z",
)
_HOLDERS = people.Holders(
    market_id=scenario.MARKET, holders=[_HOLDER], yes=[_HOLDER], no=[], count=1, yes_count=1, no_count=0
)
_PORTFOLIO = people.Portfolio(
    wallet=scenario.TRADER, value=scenario.VALUE, cost_basis=scenario.PAID, realized_pnl=Lamports(0),
    unrealized_pnl=scenario.LOSS, open_positions=[_HELD], closed_positions=[], history=[_VALUE],
)  # fmt: skip
_POSITION = people.Position(
    id=scenario.POSITION, market_id=scenario.MARKET, user=scenario.TRADER, yes_shares=scenario.SHARES,
    no_shares=scenario.NO_SHARES, created_at=scenario.TRADED, updated_at=scenario.TRADED,
)  # fmt: skip
_POSITION_IN_TEXT = people.UserPosition(
    market_id=scenario.MARKET, question=scenario.QUESTION, shares_yes=str(scenario.SHARES), shares_no="0",
    total_invested=str(scenario.PAID), current_value=str(scenario.VALUE), unrealized_pnl=str(scenario.LOSS),
    roi=-7.12, state=2,
)  # fmt: skip

ANSWERS: list[Struct] = [
    _HELD,
    _PORTFOLIO,
    _POSITION,
    _POSITION_IN_TEXT,
    _HOLDERS,
    people.Leaderboard(leaders=[_LEADER], count=1, by="pnl", window="all"),
    people.Discussions(discussions=[_COMMENT], count=1, market_id=scenario.MARKET),
    people.DiscussionAnswer(message="Comment created", discussion=_COMMENT),
    people.Message(message="Signed out"),
    people.DiscussionSnapshots(snapshots=[_SNAPSHOT], count=1, market_id=scenario.MARKET),
    _USER,
    _RESULTS,
    _CHALLENGE,
    people.Session(
        token=scenario.SESSION,
        expires_at="2026-01-15T13:00:00.000Z",
        wallet=scenario.TRADER,
    ),
    people.WalletBalance(wallet=scenario.TRADER, lamports=Lamports(5_000_000_000)),
    _COUNTS,
    votes.MarketVotes(votes=[VOTE], stats=_STATS, market_id=scenario.MARKET, type="proposal"),
    votes.UserVotes(proposal_votes=[VOTE], dispute_votes=[], total=1, wallet=scenario.TRADER),
]
