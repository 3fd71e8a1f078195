"""Define the types of the domain: ids, units and states.

Units are in the names of fields or in these types. A title is the name of the type in published schemas.
"""

from __future__ import annotations

from enum import Enum, IntEnum
from typing import Annotated, Final, NewType

from msgspec import Meta

MarketId = NewType("MarketId", Annotated[str, Meta(title="MarketId")])
"""The on-chain market_id, 32 bytes as 64 lower-case hex characters."""

Address = NewType("Address", Annotated[str, Meta(title="Address")])
"""The address of an account: base58 of 32 bytes. A wallet's is one too."""

Wallet = NewType("Wallet", Annotated[str, Meta(title="Wallet")])
"""The address of a user: base58 of a 32-byte ed25519 key."""

Signature = NewType("Signature", Annotated[str, Meta(title="Signature")])
"""A transaction's signature: base58 of 64 bytes."""

Slot = NewType("Slot", Annotated[int, Meta(title="Slot")])
"""The number of a slot."""
Lamports = NewType("Lamports", Annotated[int, Meta(title="Lamports")])
"""An amount in lamports, 1e-9 SOL."""
LAMPORTS_PER_SOL: Final = 1_000_000_000

Shares = NewType("Shares", Annotated[int, Meta(title="Shares")])
"""Outcome shares in units of 1e-9 share. With the reference program one winning unit pays one lamport."""

PriceE9 = NewType("PriceE9", int)
"""A price in units of 1e-9, from 0 to 1_000_000_000."""

Bps = NewType("Bps", Annotated[int, Meta(title="Bps")])
"""Basis points, 0 to 10_000."""
BPS_ONE: Final = 10_000
"""The whole in basis points."""

ChainTime = NewType("ChainTime", int)
"""A time in unix seconds of the chain's Clock sysvar."""

PRICE_ONE = 1_000_000_000
"""The price 1 in units of 1e-9."""


class MarketState(IntEnum):
    """The states of a market, numbered as the program numbers them. Clients see the names in upper case."""

    PROPOSED = 0
    APPROVED = 1
    ACTIVE = 2
    RESOLVING = 3
    DISPUTED = 4
    FINALIZED = 5
    CANCELLED = 6


class VoteKind(Enum):
    """The subject of a vote."""

    PROPOSAL = "proposal"
    DISPUTE = "dispute"


class Side(Enum):
    """The direction of a trade."""

    BUY = "buy"
    SELL = "sell"


class Finality(Enum):
    """The commitment that the cluster has reached for a transaction."""

    CONFIRMED = "confirmed"
    FINALIZED = "finalized"
