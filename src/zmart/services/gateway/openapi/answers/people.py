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
_VOTE = votes.Vote(
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
    people.DiscussionAnswer(message="Comment posted", discussion=_COMMENT),
    people.WalletBalance(wallet=scenario.TRADER, lamports=Lamports(5_000_000_000)),
    _COUNTS,
    votes.MarketVotes(votes=[_VOTE], stats=_STATS, market_id=scenario.MARKET, type="proposal"),
    votes.UserVotes(proposal_votes=[_VOTE], dispute_votes=[], total=1, wallet=scenario.TRADER),
]
