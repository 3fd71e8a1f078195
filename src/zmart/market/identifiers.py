"""Recognize identifiers. What names a market, its id or its address, is parsed here by every door."""

from __future__ import annotations

import re

import base58
import msgspec

from zmart.market.types import Address, MarketId

BASE58 = "[1-9A-HJ-NP-Za-km-z]"
BASE58_TEXT = rf"^{BASE58}+\Z"
"""Any text in base58, for what a node names: nothing else reaches a table."""
MARKET_ID_FORM = "[0-9a-f]{64}"
ADDRESS_FORM = f"{BASE58}{{32,44}}"
SIGNATURE_FORM = f"{BASE58}{{64,88}}"
CID_V0_FORM = f"Qm{BASE58}{{44}}"
"""Patterns. Text in a form of base58 may still decode to fewer or more bytes than the identifier has."""

_MARKET_ID = re.compile(MARKET_ID_FORM)
_ADDRESS = re.compile(ADDRESS_FORM)
_ADDRESS_BYTES = 32


class MarketRef(msgspec.Struct, frozen=True):
    """Name a market by its id or by its address: exactly one is set. `str()` is that text."""

    id: MarketId | None = None
    address: Address | None = None

    def __str__(self) -> str:
        return self.id or self.address or ""


def parse_market(text: str) -> MarketRef | None:
    """Parse a market's id, in either case of its 64 hex characters, or its address; None if it is neither."""
    if _MARKET_ID.fullmatch(text.lower()):
        return MarketRef(id=MarketId(text.lower()))
    return MarketRef(address=Address(text)) if is_address(text) else None


def is_address(text: str) -> bool:
    """Return whether `text` is base58 of 32 bytes."""
    return _ADDRESS.fullmatch(text) is not None and len(base58.b58decode(text)) == _ADDRESS_BYTES
