"""Define the interface of the pricing models."""

from __future__ import annotations

from typing import Protocol

from msgspec import Struct

from zmart.market.pricing.fees import FeeSchedule, TradeFees
from zmart.market.types import Lamports, PriceE9, Shares


class Quantities(Struct, frozen=True):
    """Hold the numbers of a market that determine its prices.

    They are the shares of each side and the liquidity parameter b, all in units of 1e-9.
    """

    q_yes: int
    q_no: int
    b: int

    def after(self, outcome: bool, shares: int) -> Quantities:
        """Return the quantities with `shares` more on one side, fewer if negative; `outcome` True is YES."""
        if outcome:
            return Quantities(self.q_yes + shares, self.q_no, self.b)
        return Quantities(self.q_yes, self.q_no + shares, self.b)


class PricedShares(Struct, frozen=True):
    """Hold a number of shares and their cost in lamports before fees."""

    shares: Shares
    cost: Lamports


class BuyQuote(Struct, frozen=True):
    """Hold a purchase as the program would execute it now. The buyer pays total = cost + fees."""

    shares: Shares
    cost: Lamports
    fees: TradeFees
    total: Lamports
    price_yes_before: PriceE9
    price_yes_after: PriceE9


class SellQuote(Struct, frozen=True):
    """Hold a sale as the program would execute it now. The seller gets net = gross - fees."""

    shares: Shares
    gross: Lamports
    fees: TradeFees
    net: Lamports
    price_yes_before: PriceE9
    price_yes_after: PriceE9


class PricingModel(Protocol):
    """Compute LMSR in the integers of one program.

    Shares and b are in units of 1e-9, costs in lamports, prices in units of 1e-9. A refusal is a PricingError with the
    name of that program's error.
    """

    @property
    def name(self) -> str:
        """Return the name of the model in settings and quotes."""

    @property
    def min_b(self) -> int:
        """Return the smallest b with which a market can be traded."""

    @property
    def bounds_shares(self) -> bool:
        """Return whether buy_shares can refuse to sell fewer than `min_shares` shares."""

    def cost(self, q_yes: int, q_no: int, b: int) -> Lamports:
        """Return the potential C in lamports. A trade costs the difference of two potentials."""

    def price_yes(self, q_yes: int, q_no: int, b: int) -> PriceE9:
        """Return the marginal price of YES. The price of NO is 1e9 minus it."""

    def buy(self, q_yes: int, q_no: int, b: int, outcome: bool, budget_lamports: int) -> PricedShares:
        """Return the shares that a budget before fees buys, and their cost before fees."""

    def sell(self, q_yes: int, q_no: int, b: int, outcome: bool, shares: int) -> Lamports:
        """Return the gross proceeds of shares, before fees."""

    def min_deposit(self, b: int) -> Lamports:
        """Return the least initial liquidity in lamports that create_market accepts."""

    def max_loss(self, b: int) -> Lamports:
        """Return the most that the market maker can lose: b ln 2, rounded as the program does."""

    def buy_total(
        self, quantities: Quantities, fees: FeeSchedule, outcome: bool, target_cost_lamports: int
    ) -> BuyQuote:
        """Quote buy_shares with its fees. `target_cost_lamports` is the most that the buyer pays in all."""

    def sell_total(
        self,
        quantities: Quantities,
        fees: FeeSchedule,
        outcome: bool,
        shares: int,
        min_proceeds_lamports: int = 0,
    ) -> SellQuote:
        """Quote sell_shares with its fees.

        Raises SlippageExceeded if the net proceeds are below `min_proceeds_lamports`.
        """

    def cost_of_shares(
        self, quantities: Quantities, fees: FeeSchedule, outcome: bool, shares: int
    ) -> Lamports:
        """Return the least target cost, fees included, that buys at least `shares`.

        Raises as `buy_total` does at that target cost.
        """
