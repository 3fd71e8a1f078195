"""Define the interface of a pricing model, whichever program it mirrors."""

from __future__ import annotations

from typing import Protocol

from msgspec import Struct

from zmart.market.pricing.fees import FeeSchedule, TradeFees
from zmart.market.types import Lamports, PriceE9, Shares


class Quantities(Struct, frozen=True):
    """Hold a market as pricing sees it: shares of each side and the liquidity parameter b, all in 1e-9."""

    q_yes: int
    q_no: int
    b: int

    def after(self, outcome: bool, shares: int) -> Quantities:
        """Return the quantities with `shares` more (negative: fewer) of the side; True is YES."""
        if outcome:
            return Quantities(self.q_yes + shares, self.q_no, self.b)
        return Quantities(self.q_yes, self.q_no + shares, self.b)


class PricedShares(Struct, frozen=True):
    """Hold a number of shares and their cost before fees."""

    shares: Shares
    cost: Lamports


class BuyQuote(Struct, frozen=True):
    """Hold a purchase as the program would execute it now. total = cost + fees is what the buyer pays."""

    shares: Shares
    cost: Lamports
    fees: TradeFees
    total: Lamports
    price_yes_before: PriceE9
    price_yes_after: PriceE9


class SellQuote(Struct, frozen=True):
    """Hold a sale as the program would execute it now. net = gross - fees is what the seller gets."""

    shares: Shares
    gross: Lamports
    fees: TradeFees
    net: Lamports
    price_yes_before: PriceE9
    price_yes_after: PriceE9


class PricingModel(Protocol):
    """Compute LMSR in the integers of one program. Every refusal is a PricingError with that program's error name."""

    @property
    def name(self) -> str:
        """Return the name of the model in settings and quotes."""

    @property
    def min_b(self) -> int:
        """Return the smallest b of a market that can be traded."""

    @property
    def bounds_shares(self) -> bool:
        """Return whether buy_shares refuses to give fewer than `min_shares`."""

    def cost(self, q_yes: int, q_no: int, b: int) -> Lamports:
        """Return the potential C; a trade costs the difference of two potentials."""

    def price_yes(self, q_yes: int, q_no: int, b: int) -> PriceE9:
        """Return the marginal price of YES; that of NO is 1e9 minus it."""

    def buy(self, q_yes: int, q_no: int, b: int, outcome: bool, budget_lamports: int) -> PricedShares:
        """Return the shares that a budget before fees buys, and their cost."""

    def sell(self, q_yes: int, q_no: int, b: int, outcome: bool, shares: int) -> Lamports:
        """Return the gross proceeds of shares."""

    def min_deposit(self, b: int) -> Lamports:
        """Return the least initial liquidity that create_market accepts."""

    def max_loss(self, b: int) -> Lamports:
        """Return the most that the market maker can lose: b ln 2, rounded as the program rounds."""

    def buy_total(
        self, quantities: Quantities, fees: FeeSchedule, outcome: bool, target_cost_lamports: int
    ) -> BuyQuote:
        """Quote buy_shares with its fees; target_cost is the most that the buyer pays, fees included."""

    def sell_total(
        self,
        quantities: Quantities,
        fees: FeeSchedule,
        outcome: bool,
        shares: int,
        min_proceeds_lamports: int = 0,
    ) -> SellQuote:
        """Quote sell_shares with its fees; below min_proceeds it raises SlippageExceeded."""

    def cost_of_shares(
        self, quantities: Quantities, fees: FeeSchedule, outcome: bool, shares: int
    ) -> Lamports:
        """Return the least target_cost that buys at least `shares`. Raises as buy_total does at that target."""
