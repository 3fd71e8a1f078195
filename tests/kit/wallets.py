"""Wallets and market ids by number, the same in every run."""

from __future__ import annotations

from functools import cache

from solders.keypair import Keypair

from zmart.market.types import Address, MarketId, Wallet


def market_id(number: int) -> MarketId:
    """The id of a market of the tests."""
    return MarketId(f"{number:064x}")


def market_address(market: MarketId) -> Address:
    """An address for a market that no program made."""
    return Address(str(Keypair.from_seed(bytes.fromhex(market)).pubkey()))


def wallet(number: int) -> Keypair:
    """The keys of a wallet of the tests."""
    return Keypair.from_seed(number.to_bytes(32, "big"))


def address_of(keypair: Keypair) -> Wallet:
    """The address of any keypair."""
    return Wallet(str(keypair.pubkey()))


@cache
def address(number: int) -> Wallet:
    """The address of a wallet of the tests."""
    return address_of(wallet(number))
