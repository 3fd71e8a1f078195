"""Declare the columns of the tables that the fold fills: `markets`, `positions`, `trades`, `onchain_votes`.

Each table's columns are declared once, as a struct. Its type parameters stand for the types that differ between the
forms of a row. The fold holds enums, booleans and chain time. Readers of the store hold texts, booleans and datetimes.
The change feed's JSON holds texts, words and datetimes. Statements are generated from these structs (store/tables.py),
and a test compares them with the catalog of the database.
"""

from __future__ import annotations

from typing import Generic, TypeVar

import msgspec

from zmart.market.types import Address, Lamports, MarketId, PriceE9, Shares, Signature, Slot, VoteKind, Wallet

StateT = TypeVar("StateT")
"""The type of a market's state: an enum, or its name as text."""

SideT = TypeVar("SideT")
"""The type of a trade's direction: an enum, or its value as text."""

OutcomeT = TypeVar("OutcomeT")
"""The type of an outcome: a boolean, where True is YES, or a word."""

TimeT = TypeVar("TimeT")
"""The type of a time: chain seconds, or a datetime."""


class MarketColumns(msgspec.Struct, Generic[StateT, OutcomeT, TimeT], frozen=True, kw_only=True):
    """Hold a row of `markets`.

    `initial_liquidity` is 0 until an event states it. A time is None if its event has not happened. `resolved_at` is
    set only when aggregate_dispute_votes records a dispute that failed.
    """

    market_id: MarketId
    address: Address
    creator: Wallet
    state: StateT
    b_parameter: Shares
    initial_liquidity: Lamports
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
    proposed_outcome: OutcomeT | None = None
    final_outcome: OutcomeT | None = None
    was_disputed: bool = False
    dispute_initiator: Wallet | None = None
    proposal_likes: int = 0
    proposal_dislikes: int = 0
    dispute_agree: int = 0
    dispute_disagree: int = 0
    created_at: TimeT
    proposal_aggregated_at: TimeT | None = None
    approved_at: TimeT | None = None
    activated_at: TimeT | None = None
    resolution_proposed_at: TimeT | None = None
    dispute_initiated_at: TimeT | None = None
    resolved_at: TimeT | None = None
    finalized_at: TimeT | None = None
    cancelled_at: TimeT | None = None
    created_slot: Slot
    updated_slot: Slot
    events_count: int = 1


class PositionColumns(msgspec.Struct, Generic[TimeT], frozen=True, kw_only=True):
    """Hold a row of `positions`: what a wallet has in one market.

    Cost bases are the lamports paid, fees included, for shares that were not sold. A claim sets both to 0 and realizes
    the profit of both sides.
    """

    market_id: MarketId
    wallet: Wallet
    shares_yes: Shares = Shares(0)
    shares_no: Shares = Shares(0)
    total_invested: Lamports = Lamports(0)
    trades_count: int = 0
    has_claimed: bool = False
    claimed_lamports: Lamports = Lamports(0)
    cost_basis_yes: Lamports = Lamports(0)
    cost_basis_no: Lamports = Lamports(0)
    realized_pnl_lamports: Lamports = Lamports(0)
    first_trade_at: TimeT
    last_trade_at: TimeT
    updated_slot: Slot


class TradeColumns(msgspec.Struct, Generic[SideT, OutcomeT, TimeT], frozen=True, kw_only=True):
    """Hold a row of `trades`.

    `cost_lamports` is what a buyer paid, fees included, or what a seller received, fees deducted.
    """

    signature: Signature
    ordinal: int
    market_id: MarketId
    wallet: Wallet
    side: SideT
    outcome: OutcomeT
    shares: Shares
    cost_lamports: Lamports
    protocol_fee_lamports: Lamports
    resolver_fee_lamports: Lamports
    lp_fee_lamports: Lamports
    price_yes_after_e9: PriceE9
    slot: Slot
    index_in_block: int
    traded_at: TimeT


class VoteColumns(msgspec.Struct, Generic[TimeT], frozen=True, kw_only=True):
    """Hold a row of `onchain_votes`. `vote` true: like, or agree that the proposed outcome is wrong."""

    market_id: MarketId
    kind: VoteKind
    wallet: Wallet
    vote: bool
    signature: Signature
    slot: Slot
    voted_at: TimeT
