"""Define the state that the fold of a market's events computes: the market, its positions, and rows of single
events."""

from __future__ import annotations

import msgspec

from zmart.market.types import (
    Address,
    ChainTime,
    Lamports,
    MarketId,
    MarketState,
    PriceE9,
    Shares,
    Side,
    Signature,
    Slot,
    VoteKind,
    Wallet,
)


class MarketFold(msgspec.Struct, frozen=True, kw_only=True):
    """Hold a market after some of its events; fields as in the table `markets`.

    `initial_liquidity` is None until an event states it. Times are None for what has not happened.
    """

    market_id: MarketId
    address: Address
    creator: Wallet
    state: MarketState
    b_parameter: Shares
    initial_liquidity: Lamports | None
    current_liquidity: Lamports
    shares_yes: Shares
    shares_no: Shares
    price_yes_e9: PriceE9
    total_volume: Lamports = Lamports(0)
    trades_count: int = 0
    traders: int = 0
    accumulated_protocol_fees: Lamports = Lamports(0)
    accumulated_resolver_fees: Lamports = Lamports(0)
    accumulated_lp_fees: Lamports = Lamports(0)
    claimed_shares: Shares = Shares(0)
    question_cid: str | None = None
    evidence_cid: str | None = None
    resolver: Wallet | None = None
    proposed_outcome: bool | None = None
    final_outcome: bool | None = None
    was_disputed: bool = False
    dispute_initiator: Wallet | None = None
    proposal_likes: int = 0
    proposal_dislikes: int = 0
    dispute_agree: int = 0
    dispute_disagree: int = 0
    created_at: ChainTime
    proposal_aggregated_at: ChainTime | None = None
    approved_at: ChainTime | None = None
    activated_at: ChainTime | None = None
    resolution_proposed_at: ChainTime | None = None
    dispute_initiated_at: ChainTime | None = None
    resolved_at: ChainTime | None = None
    finalized_at: ChainTime | None = None
    cancelled_at: ChainTime | None = None
    created_slot: Slot
    updated_slot: Slot
    events_count: int = 1


class PositionFold(msgspec.Struct, frozen=True, kw_only=True):
    """Hold a wallet's position in one market.

    Cost bases are lamports paid, fees included, for the shares still held; the claim realizes both sides.
    """

    wallet: Wallet
    shares_yes: Shares = Shares(0)
    shares_no: Shares = Shares(0)
    total_invested: Lamports = Lamports(0)
    trades_count: int = 0
    has_claimed: bool = False
    claimed_lamports: Lamports = Lamports(0)
    cost_basis_yes: Lamports = Lamports(0)
    cost_basis_no: Lamports = Lamports(0)
    realized_pnl_lamports: int = 0
    first_trade_at: ChainTime
    last_trade_at: ChainTime
    updated_slot: Slot

    def shares(self, outcome: bool) -> Shares:
        """Return the shares of one outcome; True is YES."""
        return self.shares_yes if outcome else self.shares_no


class FoldedTrade(msgspec.Struct, frozen=True, kw_only=True):
    """Hold one purchase or sale. `cost_lamports`: paid, fees included, or received, fees deducted."""

    signature: Signature
    ordinal: int
    market_id: MarketId
    wallet: Wallet
    side: Side
    outcome: bool
    shares: Shares
    cost_lamports: Lamports
    protocol_fee_lamports: Lamports
    resolver_fee_lamports: Lamports
    lp_fee_lamports: Lamports
    price_yes_after_e9: PriceE9
    slot: Slot
    index_in_block: int
    traded_at: ChainTime


class FoldedVote(msgspec.Struct, frozen=True, kw_only=True):
    """Hold a vote cast on chain. `vote` true: like, or agree that the proposed outcome is wrong."""

    market_id: MarketId
    kind: VoteKind
    wallet: Wallet
    vote: bool
    signature: Signature
    slot: Slot
    voted_at: ChainTime


class FoldStep(msgspec.Struct, frozen=True):
    """Hold what one event changes: the market, at most one position, and at most one new row."""

    market: MarketFold
    position: PositionFold | None = None
    row: FoldedTrade | FoldedVote | None = None
