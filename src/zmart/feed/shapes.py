"""Define the data of the live feed's messages: what clients find under `data`, and in snapshots.

The feed and the socket server encode these structs; asyncapi.py publishes them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType, field

from zmart.feed.channels import ChannelKind
from zmart.market.outcomes import ChoiceName, SideName

Moment = Annotated[str, Meta(description="ISO 8601 in UTC with milliseconds")]
AMOUNT = "lamports or shares, in 1e-9"
Units = Annotated[int, Meta(description=AMOUNT)]
Price = Annotated[str, Meta(description="decimal text with nine places")]
Action = Literal["created", "updated", "deleted"]


class TallyData(Struct, frozen=True, kw_only=True):
    """The votes that count on a proposal or a dispute. `for` counts those who like the proposal, or agree with the
    dispute."""

    for_: int = field(name="for")
    against: int
    total: int


class MarketData(Struct, frozen=True, kw_only=True):
    """A market's row under the names of the HTTP API."""

    market_id: str
    state: str
    creator: str
    b_parameter: Units
    initial_liquidity: Units
    current_liquidity: Units
    shares_yes: Units
    shares_no: Units
    total_volume: Units
    trades_count: int
    traders: int
    question_cid: str | None
    evidence_cid: str | None
    resolver: str | None
    was_disputed: bool
    proposal_likes: int
    proposal_dislikes: int
    dispute_agree: int
    dispute_disagree: int
    created_at: Moment | None
    proposal_aggregated_at: Moment | None
    approved_at: Moment | None
    activated_at: Moment | None
    resolution_proposed_at: Moment | None
    dispute_initiated_at: Moment | None
    finalized_at: Moment | None
    cancelled_at: Moment | None
    proposed_outcome: bool | None
    final_outcome: bool | None
    id: str
    on_chain_address: str
    status: str
    creator_wallet: str
    liquidity_parameter: Units
    total_yes_shares: Units
    total_no_shares: Units
    current_price_yes: Price
    current_price_no: Price
    updated_slot: int


class MarketSnapshotData(MarketData, frozen=True, kw_only=True):
    """A market in a snapshot. It also has the fields of its question document, null until that is known, and prices
    from 0 to 1."""

    price_yes: float = field(name="priceYes")
    price_no: float = field(name="priceNo")
    total_shares: Units = field(name="totalShares")
    question: str | None
    description: str | None
    category: str | None
    tags: list[str] | None
    ends_at: Moment | None


class PriceFigures(Struct, frozen=True, kw_only=True):
    """The prices of YES and NO, from 0 to 1, and the sum of all shares; missing if the market's row is missing."""

    price_yes: float | UnsetType = field(name="priceYes", default=UNSET)
    price_no: float | UnsetType = field(name="priceNo", default=UNSET)
    total_shares: Units | UnsetType = field(name="totalShares", default=UNSET)


class MarketChange(Struct, frozen=True, kw_only=True):
    """A change of a market's row. `old_state` is null for a new market, `new_state` for a deleted one."""

    action: Action
    old_state: str | None
    new_state: str | None
    market: MarketData
    price_yes: float = field(name="priceYes")
    price_no: float = field(name="priceNo")
    total_shares: Units = field(name="totalShares")


class TradeData(Struct, frozen=True, kw_only=True):
    """A trade. `price` is the average price of one share; `price_after` the price of YES after the trade."""

    action: Action | UnsetType = UNSET  # here, so that it is the first field of TradeChange; otherwise unset
    trade_id: str = field(name="tradeId")
    id: str
    market_id: str
    trade_type: Literal["buy", "sell"]
    outcome: SideName
    shares: Units
    cost: Units
    price: Price
    price_after: Price
    user_wallet: str
    trader: str
    user: str
    tx_signature: str
    slot: int
    created_at: Moment


class TradeChange(TradeData, frozen=True, kw_only=True):
    """A change of a trade. If `action` is `deleted`, the transaction of the trade has left the chain."""

    action: Action


class VoteChange(Struct, frozen=True, kw_only=True):
    """A change of a vote. `tally` counts all votes of that kind in the market after it."""

    action: Action
    vote_type: Literal["proposal", "dispute"]
    vote: bool
    choice: ChoiceName
    user_wallet: str
    source: Literal["offchain", "onchain"]
    created_at: Moment | None
    tally: TallyData | None


class CommentData(Struct, frozen=True, kw_only=True):
    """A comment. `content` is null after the comment was deleted."""

    id: str
    market_id: str
    user_wallet: str
    content: str | None
    parent_id: str | None
    created_at: Moment | None
    deleted_at: Moment | None


class CommentChange(Struct, frozen=True, kw_only=True):
    """A change of a comment. `action` is also `deleted` when its author deletes it. The last four fields repeat those
    of `discussion`."""

    action: Action
    discussion: CommentData
    post_id: str = field(name="postId")
    author: str
    parent_id: str | None = field(name="parentId")
    content: str | None


class MarketsSnapshot(Struct, frozen=True, kw_only=True):
    """The newest 50 markets, the newest first; `count` is the number of all markets."""

    count: int
    markets: list[MarketSnapshotData]


class Tallies(Struct, frozen=True, kw_only=True):
    """The tallies of both kinds of votes in a market."""

    proposal: TallyData
    dispute: TallyData


class VotesSnapshot(Struct, frozen=True, kw_only=True):
    """The snapshot of a channel of votes: the tallies of a market."""

    tally: Tallies


SNAPSHOTS: Mapping[ChannelKind, object] = {
    ChannelKind.MARKETS: MarketsSnapshot,
    ChannelKind.MARKET: MarketSnapshotData | None,
    ChannelKind.TRADES: list[TradeData],
    ChannelKind.ACTIVITY: list[TradeData],
    ChannelKind.VOTES: VotesSnapshot,
    ChannelKind.DISCUSSIONS: list[CommentData],
}
"""The type of the state with which a subscription begins, by the kind of its channel.

A list of trades or comments holds the newest 50, the oldest first.
"""
