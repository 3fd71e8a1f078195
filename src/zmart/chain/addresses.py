"""Derive the addresses of the program's accounts.

The vectors in tests/vectors pin the seeds.
"""

from __future__ import annotations

from functools import lru_cache

from solders.pubkey import Pubkey

from zmart.errors import DecodeError
from zmart.market.types import Address, MarketId, VoteKind, Wallet

_VOTE_TYPES = {VoteKind.PROPOSAL: b"\0", VoteKind.DISPUTE: b"\1"}


def to_pubkey(text: str) -> Pubkey:
    """Parse an address. Raises DecodeError if `text` is not base58 of 32 bytes."""
    try:
        return Pubkey.from_string(text)
    except ValueError as error:
        raise DecodeError(f"{text[:60]!r} is not a Solana address: base58 of 32 bytes.") from error


class Addresses:
    """Derive the addresses of one program's accounts from its id."""

    def __init__(self, program_id: Pubkey) -> None:
        self._program_id = program_id

    def global_config(self) -> Address:
        """Return the address of GlobalConfig."""
        return _derive(self._program_id, b"global-config")

    def event_authority(self) -> Address:
        """Return the address that signs the instructions of Anchor's emit_cpi!."""
        return _derive(self._program_id, b"__event_authority")

    def market(self, market_id: MarketId) -> Address:
        """Return the address of a market's account.

        Raises DecodeError if the id is not 64 hex characters.
        """
        return _derive(self._program_id, b"market", _id_bytes(market_id))

    def position(self, market: Address, user: Wallet) -> Address:
        """Return the address of a user's position in a market.

        `market` is the address of the market's account.
        """
        return _derive(self._program_id, b"position", bytes(to_pubkey(market)), bytes(to_pubkey(user)))

    def vote_record(self, market: Address, user: Wallet, kind: VoteKind) -> Address:
        """Return the address of the record of a user's vote of that kind in a market."""
        return _derive(
            self._program_id, b"vote", bytes(to_pubkey(market)), bytes(to_pubkey(user)), _VOTE_TYPES[kind]
        )


@lru_cache(maxsize=65_536)
def _derive(program_id: Pubkey, *seeds: bytes) -> Address:
    address, _bump = Pubkey.find_program_address(list(seeds), program_id)
    return Address(str(address))


def _id_bytes(market_id: MarketId) -> bytes:
    try:
        raw = bytes.fromhex(market_id)
    except ValueError:
        raw = b""
    if len(raw) != 32:
        raise DecodeError(f"{market_id[:80]!r} is not a market id: 64 hex characters.")
    return raw
