"""Define the documents in which a vote log is published: pages of its entries, and proofs of a wallet's votes."""

from __future__ import annotations

import msgspec

from zmart.market.types import MarketId, Wallet

MAX_PAGE = 1_000
"""The largest number of entries in one page."""


class InclusionProof(msgspec.Struct, frozen=True):
    """One entry of a wallet and its audit path to the root. `leaf_hash` is the hash of the text `entry`; hashes are in
    hex."""

    index: int
    entry: str
    leaf_hash: str
    path: list[str]


class ConsistencyProof(msgspec.Struct, frozen=True):
    """A proof that the present log begins with the log that had `old_root` at `old_size`; hashes are in hex."""

    old_size: int
    old_root: str
    path: list[str]


class VoteProof(msgspec.Struct, frozen=True, kw_only=True):
    """All entries of one wallet in a market's vote log, proven against the head `tree_size` and `root`. `rules` says
    who may vote, by kind of vote, if that is fixed."""

    market_id: MarketId
    wallet: Wallet
    tree_size: int
    root: str
    entries: list[InclusionProof]
    rules: dict[str, str] = {}
    consistency: ConsistencyProof | None = None


class LogPage(msgspec.Struct, frozen=True, kw_only=True):
    """The entries of a vote log from index `start` on, as text. `size` and `root` are the log's head when the page was
    read. `rules` says who may vote, by kind of vote; a saved log has none, so that equal logs are equal files."""

    market_id: MarketId
    size: int
    root: str
    start: int
    entries: list[str]
    rules: dict[str, str] | msgspec.UnsetType = msgspec.UNSET
