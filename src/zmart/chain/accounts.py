"""Decode the program's four accounts into frozen structs.

The layouts come from the IDL; bytes after the last field are accepted. Times are chain seconds, 0 for an event that has
not happened. `reserved` holds an account's reserved bytes as text of `borsh.text_of`; a build of the program may store
values there that the IDL does not name.
"""

from __future__ import annotations

import struct
from typing import ClassVar, TypeVar

import msgspec
from solders.pubkey import Pubkey

from zmart.chain.borsh import bytes_of
from zmart.chain.idl import Idl
from zmart.chain.mirror import Mirror, idl_name
from zmart.errors import ConfigError, DecodeError
from zmart.market.types import (
    Address,
    Bps,
    ChainTime,
    Lamports,
    MarketId,
    MarketState,
    Shares,
    VoteKind,
    Wallet,
)

_MARKET_RESERVED_BYTES = 119
_MARKET_NOTES = struct.Struct("<QQQ32s")


class AccountInfo(msgspec.Struct, frozen=True, kw_only=True):
    """Hold an account as an RPC node returns it; `data` is decoded to bytes."""

    address: Address
    owner: Address
    lamports: Lamports
    data: bytes
    executable: bool = False


class GlobalConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Hold the program's configuration account.

    Fees and thresholds are in basis points. `min_resolution_delay` and `dispute_period` are in seconds.
    """

    admin: Wallet
    backend_authority: Wallet
    protocol_fee_wallet: Wallet
    protocol_fee_bps: Bps
    resolver_reward_bps: Bps
    liquidity_provider_fee_bps: Bps
    proposal_approval_threshold: Bps
    dispute_success_threshold: Bps
    min_resolution_delay: int
    dispute_period: int
    min_resolver_reputation: int
    is_paused: bool
    reserved: str
    bump: int


class MarketAccount(msgspec.Struct, frozen=True, kw_only=True):
    """Hold a market's account.

    `ipfs_evidence_hash` is the CID of the question until resolve_market overwrites it with the CID of the evidence.
    """

    market_id: MarketId
    creator: Wallet
    state: MarketState
    b_parameter: Shares
    initial_liquidity: Lamports
    current_liquidity: Lamports
    shares_yes: Shares
    shares_no: Shares
    total_volume: Lamports
    created_at: ChainTime
    approved_at: ChainTime
    activated_at: ChainTime
    resolution_proposed_at: ChainTime
    resolved_at: ChainTime
    finalized_at: ChainTime
    resolver: Wallet
    proposed_outcome: bool | None
    final_outcome: bool | None
    ipfs_evidence_hash: str
    dispute_initiated_at: ChainTime
    dispute_initiator: Wallet
    accumulated_protocol_fees: Lamports
    accumulated_resolver_fees: Lamports
    accumulated_lp_fees: Lamports
    proposal_likes: int
    proposal_dislikes: int
    proposal_total_votes: int
    resolution_agree: int
    resolution_disagree: int
    resolution_total_votes: int
    dispute_agree: int
    dispute_disagree: int
    dispute_total_votes: int
    was_disputed: bool
    is_cancelled: bool
    cancelled_at: ChainTime | None
    is_locked: bool
    reserved: str
    bump: int

    @property
    def notes(self) -> MarketNotes:
        """Decode the values that the program of this repository stores in a market's reserved bytes.

        All numbers are 0 for a market of v0.69.
        """
        raw = bytes_of(self.reserved, _MARKET_RESERVED_BYTES)
        claimed, resolver, protocol, fee_wallet = _MARKET_NOTES.unpack_from(raw)
        return MarketNotes(
            claimed_shares=claimed,
            owed_resolver=resolver,
            owed_protocol=protocol,
            fee_wallet=Wallet(str(Pubkey(fee_wallet))),
        )


class MarketNotes(msgspec.Struct, frozen=True, kw_only=True):
    """Hold the values that the program of this repository stores in a market's reserved bytes.

    `claimed_shares`: shares that were paid out; for a market without an outcome, shares of both sides. `owed_resolver`
    and `owed_protocol`: lamports that the market's account still holds because the resolver or the `fee_wallet` could
    not be credited when the payment fell due.
    """

    claimed_shares: Shares
    owed_resolver: Lamports
    owed_protocol: Lamports
    fee_wallet: Wallet


class PositionAccount(msgspec.Struct, frozen=True, kw_only=True):
    """Hold the account of a wallet's position in one market; `total_invested` and `claimed_amount` are lamports."""

    IDL_NAME: ClassVar = "UserPosition"

    market: Address
    user: Wallet
    shares_yes: Shares
    shares_no: Shares
    total_invested: Lamports
    trades_count: int
    last_trade_at: ChainTime
    has_claimed: bool
    claimed_amount: Lamports
    reserved: str
    bump: int


class VoteRecord(msgspec.Struct, frozen=True, kw_only=True):
    """Hold the account of a vote cast on chain.

    `vote` true on a proposal means like; on a dispute it means that the proposed outcome is wrong.
    """

    market: Address
    user: Wallet
    vote_type: VoteKind
    vote: bool
    voted_at: ChainTime
    bump: int


Decoded = TypeVar("Decoded", bound=msgspec.Struct)


class AccountCodec:
    """Decode and encode the program's accounts by its IDL.

    The constructor raises ConfigError if the IDL lacks an account or describes it with other fields. Decoding checks
    the owner and the discriminator, and raises DecodeError if one differs or the data is too short.
    """

    def __init__(self, program_id: Address, idl: Idl) -> None:
        self._program_id = program_id
        self._discriminators = idl.accounts
        self._config = Mirror(idl, GlobalConfig)
        self._market = Mirror(idl, MarketAccount)
        self._position = Mirror(idl, PositionAccount)
        self._vote = Mirror(idl, VoteRecord)
        if missing := {idl_name(m.cls) for m in self._mirrors()} - idl.accounts.keys():
            raise ConfigError(f"The IDL lacks the accounts {', '.join(sorted(missing))}.")

    def global_config(self, info: AccountInfo) -> GlobalConfig:
        """Decode a GlobalConfig account. Raises DecodeError."""
        return self._decode(self._config, info)

    def market(self, info: AccountInfo) -> MarketAccount:
        """Decode a market's account. Raises DecodeError."""
        return self._decode(self._market, info)

    def position(self, info: AccountInfo) -> PositionAccount:
        """Decode a position's account. Raises DecodeError."""
        return self._decode(self._position, info)

    def vote_record(self, info: AccountInfo) -> VoteRecord:
        """Decode the account of a vote. Raises DecodeError."""
        return self._decode(self._vote, info)

    def discriminator(self, cls: type[msgspec.Struct]) -> bytes:
        """Return the first 8 bytes of every account that `cls` describes, for getProgramAccounts filters."""
        return self._discriminators[idl_name(cls)]

    def encode(self, value: msgspec.Struct) -> bytes:
        """Encode account data as the program writes it, without the unused bytes at the end of the account."""
        mirror = next(m for m in self._mirrors() if isinstance(value, m.cls))
        return self._discriminators[idl_name(mirror.cls)] + mirror.write(value)

    def _mirrors(self) -> tuple[Mirror[msgspec.Struct], ...]:
        return (self._config, self._market, self._position, self._vote)

    def _decode(self, mirror: Mirror[Decoded], info: AccountInfo) -> Decoded:
        name = idl_name(mirror.cls)
        if info.owner != self._program_id:
            raise DecodeError(
                f"Account {info.address} is owned by {info.owner}, not by the program {self._program_id}."
            )
        if info.data[:8] != self._discriminators[name]:
            raise DecodeError(f"Account {info.address} is not a {name}: its discriminator differs.")
        value, _end = mirror.read(info.data, 8)
        return value
