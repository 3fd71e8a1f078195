"""The documents in which a vote log is published: pages of its entries, and proofs about the votes of one wallet."""

from __future__ import annotations

import msgspec

from zmart.market.types import MarketId, Wallet

MAX_PAGE = 1_000
"""The largest number of entries in one page."""


class InclusionProof(msgspec.Struct, frozen=True):
    """One entry of a wallet and its audit path to the root (hex); `entry` is the text that the leaf covers."""

    index: int
    entry: str
    leaf_hash: str
    path: list[str]


class ConsistencyProof(msgspec.Struct, frozen=True):
    """Prove that the current log begins with the one that had `old_root` at `old_size` (hex)."""

    old_size: int
    old_root: str
    path: list[str]


class VoteProof(msgspec.Struct, frozen=True, kw_only=True):
    """Everything about one wallet's votes on a market, against one head of its log; `rules`: who may vote, by kind,
    where that is fixed."""

    market_id: MarketId
    wallet: Wallet
    tree_size: int
    root: str
    entries: list[InclusionProof]
    rules: dict[str, str] = {}
    consistency: ConsistencyProof | None = None


class LogPage(msgspec.Struct, frozen=True, kw_only=True):
    """Entries from `start` on, as text; `size` and `root` are the head when the page was read. `rules`: who may vote,
    by kind; a saved log has none, so that the same log is the same file."""

    market_id: MarketId
    size: int
    root: str
    start: int
    entries: list[str]
    rules: dict[str, str] | msgspec.UnsetType = msgspec.UNSET
