"""Value positions and compute profit and loss, in integers rounded down.

Costs and proceeds include the fees. `store/users.py` computes the same in SQL, for the results of many wallets at once.
"""

from __future__ import annotations

from collections import defaultdict
from enum import Enum

from msgspec import Struct

from zmart.market.types import PRICE_ONE, Lamports, MarketId


class PositionValue(Struct, frozen=True, kw_only=True):
    """Hold the value of a position, the cost of its shares, and the profit of its sales and claims, in lamports."""

    current: Lamports
    basis: Lamports
    realized: Lamports

    @property
    def unrealized(self) -> Lamports:
        """Return the profit that a sale of the shares for `current` would make, in lamports."""
        return Lamports(self.current - self.basis)

    @property
    def result(self) -> Lamports:
        """Return the sum of the realized and the unrealized profit, in lamports."""
        return Lamports(self.realized + self.unrealized)


def at_price(shares_yes: int, shares_no: int, price_yes_e9: int) -> Lamports:
    """Return the value of shares at the market's price, in lamports."""
    return Lamports((shares_yes * price_yes_e9 + shares_no * (PRICE_ONE - price_yes_e9)) // PRICE_ONE)


class ClaimRule(Enum):
    """Name the rule that determines what a claim pays. It depends on the program (docs/program.md)."""

    FIXED = "fixed"
    """A winning unit pays one lamport. If the outcome is INVALID, each unit of both sides pays half a lamport."""
    POOL = "pool"
    """A winner gets a part of the pool. If the outcome is INVALID, each wallet gets what it invested. v0.69 pays so."""

    @classmethod
    def of_model(cls, pricing_model: str) -> ClaimRule:
        """Return the claim rule of the program that a pricing model mirrors."""
        return cls.POOL if pricing_model == "v069" else cls.FIXED


class FinalMarket(Struct, frozen=True):
    """Hold the fields of a finalized market that determine a claim.

    `final_outcome` None is INVALID. `shares_yes` and `shares_no` are all outstanding shares of the market.
    """

    final_outcome: bool | None
    pool_lamports: int
    shares_yes: int
    shares_no: int


def fixed_payout(shares_yes: int, shares_no: int, final_outcome: bool | None) -> Lamports:
    """Return the lamports that a claim pays by ClaimRule.FIXED."""
    if final_outcome is None:
        return Lamports((shares_yes + shares_no) // 2)
    return Lamports(shares_yes if final_outcome else shares_no)


def pool_payout(shares_yes: int, shares_no: int, invested_lamports: int, market: FinalMarket) -> Lamports:
    """Return the lamports that a claim pays by ClaimRule.POOL."""
    if market.final_outcome is None:
        return Lamports(invested_lamports)
    held, winning = (shares_yes, market.shares_yes) if market.final_outcome else (shares_no, market.shares_no)
    return Lamports(held * market.pool_lamports // max(winning, 1))


def basis_of_sold(basis_lamports: int, sold: int, held: int) -> int:
    """Return the part of a side's cost basis that a sale takes: average cost, rounded down, in lamports."""
    return basis_lamports * sold // held if held else 0


class _Holding:
    """Hold a wallet's shares and cost bases in one market. The lists are indexed by outcome: NO, YES."""

    def __init__(self) -> None:
        self.shares = [0, 0]
        self.basis = [0, 0]
        self.price_yes_e9 = 0

    def value(self) -> Lamports:
        no, yes = self.shares
        return at_price(yes, no, self.price_yes_e9)


class HoldingHistory:
    """Follow a wallet's holdings in all markets, trade by trade, valued at the prices of these trades.

    `realized` is the profit of all sales and claims so far, in lamports.
    """

    def __init__(self) -> None:
        self._held: defaultdict[MarketId, _Holding] = defaultdict(_Holding)
        self.realized = Lamports(0)

    def begin(
        self,
        market_id: MarketId,
        outcome: bool,
        *,
        bought: int,
        sold: int,
        paid_lamports: int,
        received_lamports: int,
        price_yes_e9: int,
    ) -> None:
        """Begin with sums of earlier trades of one side; `price_yes_e9` is the market's price after them.

        The shares that are left cost the average of all these purchases, since sums do not tell the order of trades.
        Sums that begin amid a holding may have more sales than purchases: then none are left.
        """
        left = max(bought - sold, 0)
        holding = self._held[market_id]
        holding.price_yes_e9 = price_yes_e9
        holding.shares[outcome] = left
        holding.basis[outcome] = basis_of_sold(paid_lamports, left, bought)
        self.realized = Lamports(self.realized + received_lamports - paid_lamports + holding.basis[outcome])

    def buy(
        self, market_id: MarketId, outcome: bool, shares: int, cost_lamports: int, price_yes_e9: int
    ) -> None:
        """Add shares with their cost; `price_yes_e9` is the market's price after the trade."""
        holding = self._held[market_id]
        holding.price_yes_e9 = price_yes_e9
        holding.shares[outcome] += shares
        holding.basis[outcome] += cost_lamports

    def sell(
        self, market_id: MarketId, outcome: bool, shares: int, proceeds_lamports: int, price_yes_e9: int
    ) -> None:
        """Remove shares, and realize the proceeds less the average cost of the shares that were sold.

        `price_yes_e9` is the market's price after the trade.
        """
        holding = self._held[market_id]
        holding.price_yes_e9 = price_yes_e9
        sold = basis_of_sold(holding.basis[outcome], shares, holding.shares[outcome])
        holding.shares[outcome] -= shares
        holding.basis[outcome] -= sold
        self.realized = Lamports(self.realized + proceeds_lamports - sold)

    def claim(self, market_id: MarketId, payout_lamports: int) -> None:
        """Remove all shares of a market, and realize what their claim paid less their cost."""
        holding = self._held.pop(market_id, _Holding())
        self.realized = Lamports(self.realized + payout_lamports - sum(holding.basis))

    @property
    def value(self) -> Lamports:
        """Return the value of all holdings, each market at the price of its last added trade."""
        return Lamports(sum(holding.value() for holding in self._held.values()))

    @property
    def invested(self) -> Lamports:
        """Return the cost of all holdings."""
        return Lamports(sum(sum(holding.basis) for holding in self._held.values()))
