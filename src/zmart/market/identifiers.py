"""Recognize the identifiers of markets, wallets, signatures and IPFS documents in text."""

from __future__ import annotations

import re

import base58
import msgspec

from zmart.market.types import Address, MarketId

BASE58 = "[1-9A-HJ-NP-Za-km-z]"
BASE58_TEXT = rf"^{BASE58}+\Z"
"""Pattern of any text in base58. An identifier in a node's answer must match it before it is stored."""
MARKET_ID_FORM = "[0-9a-f]{64}"
ADDRESS_FORM = f"{BASE58}{{32,44}}"
SIGNATURE_FORM = f"{BASE58}{{64,88}}"
CID_V0_FORM = f"Qm{BASE58}{{44}}"
"""The patterns above and this one match the form of an identifier.

Text that matches a pattern of base58 may still decode to another number of bytes than the identifier has.
"""

_MARKET_ID = re.compile(MARKET_ID_FORM)
_ADDRESS = re.compile(ADDRESS_FORM)
_ADDRESS_BYTES = 32


class MarketRef(msgspec.Struct, frozen=True):
    """Name a market by its id or by its address: exactly one of them is set. `str()` returns that text."""

    id: MarketId | None = None
    address: Address | None = None

    def __str__(self) -> str:
        return self.id or self.address or ""


def parse_market(text: str) -> MarketRef | None:
    """Parse a market's id or its address.

    An id is 64 hex characters in either case; it is returned in lower case. Returns None if `text` is neither.
    """
    if _MARKET_ID.fullmatch(text.lower()):
        return MarketRef(id=MarketId(text.lower()))
    return MarketRef(address=Address(text)) if is_address(text) else None


def is_address(text: str) -> bool:
    """Return whether `text` is base58 of 32 bytes."""
    return _ADDRESS.fullmatch(text) is not None and len(base58.b58decode(text)) == _ADDRESS_BYTES
