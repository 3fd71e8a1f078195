"""The 18 events of the program, field for field as in its IDL (chain/ decodes bytes into these).

Addresses are base58 text, 32-byte ids lower-case hex, `[u8; 46]` hashes the ASCII text of a CIDv0;
`timestamp` is chain time in seconds; shares and prices are in 1e-9 units, money in lamports.
"""

from __future__ import annotations

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
    """Base of all events; encodes with its on-chain name under the key `event`."""


class GlobalConfigInitialized(Event, frozen=True, kw_only=True, tag=True):
    admin: Wallet
    backend_authority: Wallet
    protocol_fee_bps: Bps
    timestamp: ChainTime


class MarketCreated(Event, frozen=True, kw_only=True, tag=True):
    """`initial_liquidity` and `ipfs_question_hash` are not in the log: they come from the instruction's
    arguments (create_market) and are None where the instruction could not be read."""

    market_id: MarketId
    creator: Wallet
    b_parameter: Shares
    state: int
    timestamp: ChainTime
    initial_liquidity: Lamports | None = None
    ipfs_question_hash: str | None = None


class ProposalVoteSubmitted(Event, frozen=True, kw_only=True, tag=True):
    market_id: MarketId
    user: Wallet
    vote: bool
    timestamp: ChainTime


class ProposalAggregated(Event, frozen=True, kw_only=True, tag=True):
    market_id: MarketId
    likes: int
    dislikes: int
    approval_percentage: int
    approved: bool
    timestamp: ChainTime


class ProposalApproved(Event, frozen=True, kw_only=True, tag=True):
    market_id: MarketId
    approved_by: Wallet
    timestamp: ChainTime


class MarketActivated(Event, frozen=True, kw_only=True, tag=True):
    market_id: MarketId
    creator: Wallet
    initial_liquidity: Lamports
    timestamp: ChainTime


class SharesBought(Event, frozen=True, kw_only=True, tag=True):
    """`cost` is the total paid, fees included."""

    market_id: MarketId
    user: Wallet
    outcome: bool
    shares: Shares
    cost: Lamports
    new_price_yes: PriceE9
    timestamp: ChainTime


class SharesSold(Event, frozen=True, kw_only=True, tag=True):
    """`proceeds` is what the seller received, fees taken off."""

    market_id: MarketId
    user: Wallet
    outcome: bool
    shares: Shares
    proceeds: Lamports
    new_price_yes: PriceE9
    timestamp: ChainTime


class MarketResolved(Event, frozen=True, kw_only=True, tag=True):
    market_id: MarketId
    resolver: Wallet
    outcome: bool
    evidence_hash: str
    timestamp: ChainTime


class DisputeInitiated(Event, frozen=True, kw_only=True, tag=True):
    market_id: MarketId
    initiator: Wallet
    disputed_outcome: bool | None
    timestamp: ChainTime


class DisputeVoteSubmitted(Event, frozen=True, kw_only=True, tag=True):
    """`vote` true agrees with the dispute: the proposed outcome is wrong."""

    market_id: MarketId
    user: Wallet
    vote: bool
    timestamp: ChainTime


class DisputeAggregated(Event, frozen=True, kw_only=True, tag=True):
    """A state change of its own: to Resolving if the dispute succeeded, else to Finalized without outcome."""

    market_id: MarketId
    agrees: int
    disagrees: int
    agreement_percentage: int
    dispute_succeeded: bool
    timestamp: ChainTime


class MarketFinalized(Event, frozen=True, kw_only=True, tag=True):
    """`dispute_agree` and `dispute_disagree` come from the instruction's arguments (finalize_market) and are
    None when it had none or could not be read."""

    market_id: MarketId
    final_outcome: bool | None
    was_disputed: bool
    timestamp: ChainTime
    dispute_agree: int | None = None
    dispute_disagree: int | None = None


class WinningsClaimed(Event, frozen=True, kw_only=True, tag=True):
    """The only event that names the market by its account; `market_id` is unknown to the log."""

    market: Address
    user: Wallet
    outcome: bool | None
    amount: Lamports
    timestamp: ChainTime


class LiquidityWithdrawn(Event, frozen=True, kw_only=True, tag=True):
    market_id: MarketId
    creator: Wallet
    amount: Lamports
    timestamp: ChainTime


class ConfigUpdated(Event, frozen=True, kw_only=True, tag=True):
    protocol_fee_bps: Bps
    resolver_reward_bps: Bps
    liquidity_provider_fee_bps: Bps
    proposal_approval_threshold: Bps
    dispute_success_threshold: Bps
    min_resolution_delay: int
    dispute_period: int
    timestamp: ChainTime


class ProtocolPauseStatusChanged(Event, frozen=True, kw_only=True, tag=True):
    is_paused: bool
    paused_by: Wallet
    timestamp: ChainTime


class MarketCancelled(Event, frozen=True, kw_only=True, tag=True):
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
"""The deployment plan's names for four of them, kept as aliases for clients."""


class Unlogged(Event, frozen=True, kw_only=True, tag=True):
    """An instruction that ran and whose event the node's log does not hold. Its arguments and what the market was
    before say what it did; the fold completes it (`unlogged.complete`). `user` is who signed it; `market_id` is
    None for the config's."""

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

_EVENT_OF: dict[UnloggedInstruction, type[Event]] = {
    "aggregate_proposal_votes": ProposalAggregated,
    "buy_shares": SharesBought,
    "sell_shares": SharesSold,
    "aggregate_dispute_votes": DisputeAggregated,
    "withdraw_liquidity": LiquidityWithdrawn,
    "update_global_config": ConfigUpdated,
    "emergency_pause": ProtocolPauseStatusChanged,
}

StoredEvent = AnyEvent | Unlogged


def kind_of(event: Event) -> type[Event]:
    """The kind of event that was emitted, also where the log lost it."""
    return _EVENT_OF[event.instruction] if isinstance(event, Unlogged) else type(event)


class ChainEvent(msgspec.Struct, frozen=True, kw_only=True):
    """One event and its place on chain: (slot, index_in_block, ordinal) is chain order,
    (signature, ordinal) its identity."""

    signature: Signature
    ordinal: int
    slot: Slot
    index_in_block: int | None
    event: StoredEvent
