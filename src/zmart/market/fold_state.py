"""Define the state that a fold of a market's events computes.

It is the market, its positions, and the rows that single events add.
"""

from __future__ import annotations

import msgspec

from zmart.market.columns import MarketColumns, PositionColumns, TradeColumns, VoteColumns
from zmart.market.types import ChainTime, MarketState, Shares, Side


class MarketFold(MarketColumns[MarketState, bool, ChainTime], frozen=True, kw_only=True):
    """Hold a market after some of its events."""


class PositionFold(PositionColumns[ChainTime], frozen=True, kw_only=True):
    """Hold a wallet's position in one market after some of its events."""

    def shares(self, outcome: bool) -> Shares:
        """Return the position's shares of one outcome; True is YES."""
        return self.shares_yes if outcome else self.shares_no


class FoldedTrade(TradeColumns[Side, bool, ChainTime], frozen=True, kw_only=True):
    """Hold one purchase or sale."""


class FoldedVote(VoteColumns[ChainTime], frozen=True, kw_only=True):
    """Hold a vote cast on chain."""


class FoldStep(msgspec.Struct, frozen=True):
    """Hold what one event changes: the market, at most one position, and at most one new row.

    None means unchanged, or no new row.
    """

    market: MarketFold
    position: PositionFold | None = None
    row: FoldedTrade | FoldedVote | None = None
