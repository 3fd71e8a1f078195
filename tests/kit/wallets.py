"""Wallets and market ids by number, the same in every run."""

from __future__ import annotations

from functools import cache

from solders.keypair import Keypair

from zmart.market.types import Address, MarketId, Wallet


def market_id(number: int) -> MarketId:
    """Return the id of the test market with this number."""
    return MarketId(f"{number:064x}")


def market_address(market: MarketId) -> Address:
    """Return an address for a market that exists in no program; it depends only on the market's id."""
    return Address(str(Keypair.from_seed(bytes.fromhex(market)).pubkey()))


def wallet(number: int) -> Keypair:
    """Return the key pair of the test wallet with this number."""
    return Keypair.from_seed(number.to_bytes(32, "big"))


def address_of(keypair: Keypair) -> Wallet:
    """Return the address of a key pair."""
    return Wallet(str(keypair.pubkey()))


@cache
def address(number: int) -> Wallet:
    """Return the address of the test wallet with this number."""
    return address_of(wallet(number))
