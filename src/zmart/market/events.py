"""Define the 18 events of the program, field for field as in its IDL.

chain/ decodes bytes into these structs. Addresses are base58 text, 32-byte ids lower-case hex, and `[u8; 46]` hashes
the ASCII text of a CIDv0. `timestamp` is chain time in seconds. Shares and prices are in units of 1e-9, money is in
lamports.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec

from zmart.market.types import (
    Address,
    Bps,
    ChainTime,
    Lamports,
    MarketId,
    PriceE9,
    Shares,
    Signature,
    Slot,
    Wallet,
)


class Event(msgspec.Struct, frozen=True, kw_only=True, tag_field="event"):
    """Serve as the base of all events. An event is encoded with its on-chain name under the key `event`."""


class GlobalConfigInitialized(Event, frozen=True, kw_only=True, tag=True):
    """Record that the admin created GlobalConfig.

    Fee rates, thresholds and times that are not listed start at their defaults.
    """

    admin: Wallet
    backend_authority: Wallet
    protocol_fee_bps: Bps
    timestamp: ChainTime


class MarketCreated(Event, frozen=True, kw_only=True, tag=True):
    """Record a new market in state Proposed.

    `initial_liquidity` and `ipfs_question_hash` are not in the log. They come from the arguments of create_market, and
    are None if the instruction could not be read.
    """

    market_id: MarketId
    creator: Wallet
    b_parameter: Shares
    state: int
    timestamp: ChainTime
    initial_liquidity: Lamports | None = None
    ipfs_question_hash: str | None = None


class ProposalVoteSubmitted(Event, frozen=True, kw_only=True, tag=True):
    """Record a vote on a proposal that was cast on chain. `vote` true: like."""

    market_id: MarketId
    user: Wallet
    vote: bool
    timestamp: ChainTime


class ProposalAggregated(Event, frozen=True, kw_only=True, tag=True):
    """Record the counts of a proposal's vote.

    `approval_percentage` is rounded down. `approved`: the likes reach GlobalConfig's threshold.
    """

    market_id: MarketId
    likes: int
    dislikes: int
    approval_percentage: int
    approved: bool
    timestamp: ChainTime


class ProposalApproved(Event, frozen=True, kw_only=True, tag=True):
    """Record that the admin approved a proposal."""

    market_id: MarketId
    approved_by: Wallet
    timestamp: ChainTime


class MarketActivated(Event, frozen=True, kw_only=True, tag=True):
    """Record that trading started. `initial_liquidity` is the creator's deposit in lamports."""

    market_id: MarketId
    creator: Wallet
    initial_liquidity: Lamports
    timestamp: ChainTime


class SharesBought(Event, frozen=True, kw_only=True, tag=True):
    """Record a purchase.

    `outcome` True is YES. `cost` is the total in lamports that the buyer paid, fees included.
    """

    market_id: MarketId
    user: Wallet
    outcome: bool
    shares: Shares
    cost: Lamports
    new_price_yes: PriceE9
    timestamp: ChainTime


class SharesSold(Event, frozen=True, kw_only=True, tag=True):
    """Record a sale.

    `outcome` True is YES. `proceeds` are the lamports that the seller received, after fees.
    """

    market_id: MarketId
    user: Wallet
    outcome: bool
    shares: Shares
    proceeds: Lamports
    new_price_yes: PriceE9
    timestamp: ChainTime


class MarketResolved(Event, frozen=True, kw_only=True, tag=True):
    """Record that a resolver proposed an outcome, with the CID of its evidence."""

    market_id: MarketId
    resolver: Wallet
    outcome: bool
    evidence_hash: str
    timestamp: ChainTime


class DisputeInitiated(Event, frozen=True, kw_only=True, tag=True):
    """Record that a wallet disputes the proposed outcome."""

    market_id: MarketId
    initiator: Wallet
    disputed_outcome: bool | None
    timestamp: ChainTime


class DisputeVoteSubmitted(Event, frozen=True, kw_only=True, tag=True):
    """Record a vote on a dispute that was cast on chain. `vote` true: the proposed outcome is wrong."""

    market_id: MarketId
    user: Wallet
    vote: bool
    timestamp: ChainTime


class DisputeAggregated(Event, frozen=True, kw_only=True, tag=True):
    """Record the counts of a dispute's vote by aggregate_dispute_votes.

    The instruction changes the market's state: to Resolving if the dispute succeeded, else to Finalized without an
    outcome.
    """

    market_id: MarketId
    agrees: int
    disagrees: int
    agreement_percentage: int
    dispute_succeeded: bool
    timestamp: ChainTime


class MarketFinalized(Event, frozen=True, kw_only=True, tag=True):
    """Record the final outcome of a market; None means that it has none.

    `dispute_agree` and `dispute_disagree` come from the arguments of finalize_market. They are None if the arguments
    are missing or could not be read.
    """

    market_id: MarketId
    final_outcome: bool | None
    was_disputed: bool
    timestamp: ChainTime
    dispute_agree: int | None = None
    dispute_disagree: int | None = None


class WinningsClaimed(Event, frozen=True, kw_only=True, tag=True):
    """Record a payout in lamports.

    This is the only event that names the market by the address of its account: the log has no `market_id`.
    """

    market: Address
    user: Wallet
    outcome: bool | None
    amount: Lamports
    timestamp: ChainTime


class LiquidityWithdrawn(Event, frozen=True, kw_only=True, tag=True):
    """Record a withdrawal of liquidity.

    `creator` is the wallet that received `amount`: the market's creator, or a wallet to which the market owed a debt.
    """

    market_id: MarketId
    creator: Wallet
    amount: Lamports
    timestamp: ChainTime


class ConfigUpdated(Event, frozen=True, kw_only=True, tag=True):
    """Record all values of GlobalConfig after a change.

    Fees and thresholds are in basis points, the two times in seconds.
    """

    protocol_fee_bps: Bps
    resolver_reward_bps: Bps
    liquidity_provider_fee_bps: Bps
    proposal_approval_threshold: Bps
    dispute_success_threshold: Bps
    min_resolution_delay: int
    dispute_period: int
    timestamp: ChainTime


class ProtocolPauseStatusChanged(Event, frozen=True, kw_only=True, tag=True):
    """Record that the admin paused or resumed the protocol."""

    is_paused: bool
    paused_by: Wallet
    timestamp: ChainTime


class MarketCancelled(Event, frozen=True, kw_only=True, tag=True):
    """Record that the admin cancelled a market before it was activated."""

    market_id: MarketId
    cancelled_by: Wallet
    cancelled_at: ChainTime


AnyEvent = (
    GlobalConfigInitialized
    | MarketCreated
    | ProposalVoteSubmitted
    | ProposalAggregated
    | ProposalApproved
    | MarketActivated
    | SharesBought
    | SharesSold
    | MarketResolved
    | DisputeInitiated
    | DisputeVoteSubmitted
    | DisputeAggregated
    | MarketFinalized
    | WinningsClaimed
    | LiquidityWithdrawn
    | ConfigUpdated
    | ProtocolPauseStatusChanged
    | MarketCancelled
)

OLD_NAMES = {
    "MarketProposed": "MarketCreated",
    "MarketApproved": "ProposalApproved",
    "ConfigInitialized": "GlobalConfigInitialized",
    "EmergencyPauseToggled": "ProtocolPauseStatusChanged",
}
"""The deployment plan's names for four of the events, which clients may still use as aliases."""


class Unlogged(Event, frozen=True, kw_only=True, tag=True):
    """Record an instruction that ran, but whose event is missing in the node's log.

    The fold computes the event from the instruction's arguments, the market before it and GlobalConfig
    (`unlogged.complete`). `user` signed the instruction. `market_id` is None for an instruction on GlobalConfig.
    """

    instruction: UnloggedInstruction
    market_id: MarketId | None
    user: Wallet
    arguments: dict[str, bool | int | None]
    timestamp: ChainTime


UnloggedInstruction = Literal[
    "aggregate_proposal_votes",
    "buy_shares",
    "sell_shares",
    "aggregate_dispute_votes",
    "withdraw_liquidity",
    "update_global_config",
    "emergency_pause",
]
"""The instructions whose event the fold can compute."""

EVENT_OF_INSTRUCTION: Mapping[str, type[Event]] = {
    "initialize_global_config": GlobalConfigInitialized,
    "create_market": MarketCreated,
    "submit_proposal_vote": ProposalVoteSubmitted,
    "aggregate_proposal_votes": ProposalAggregated,
    "approve_proposal": ProposalApproved,
    "activate_market": MarketActivated,
    "buy_shares": SharesBought,
    "sell_shares": SharesSold,
    "resolve_market": MarketResolved,
    "initiate_dispute": DisputeInitiated,
    "submit_dispute_vote": DisputeVoteSubmitted,
    "aggregate_dispute_votes": DisputeAggregated,
    "finalize_market": MarketFinalized,
    "claim_winnings": WinningsClaimed,
    "withdraw_liquidity": LiquidityWithdrawn,
    "update_global_config": ConfigUpdated,
    "emergency_pause": ProtocolPauseStatusChanged,
    "cancel_market": MarketCancelled,
}
"""The event that each instruction emits whenever it succeeds, in v0.69 and in the program of this repository alike."""

StoredEvent = AnyEvent | Unlogged


def kind_of(event: Event) -> type[Event]:
    """Return the type of the event that the program emitted, even if the log lost the event."""
    return EVENT_OF_INSTRUCTION[event.instruction] if isinstance(event, Unlogged) else type(event)


class ChainEvent(msgspec.Struct, frozen=True, kw_only=True):
    """Hold one event and its position on chain.

    (slot, index_in_block, ordinal) is chain order; `index_in_block` is None if the source omits it. (signature,
    ordinal) identifies the event.
    """

    signature: Signature
    ordinal: int
    slot: Slot
    index_in_block: int | None
    event: StoredEvent
