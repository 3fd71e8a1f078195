"""What a pricing model answers, whichever program it mirrors."""

from __future__ import annotations

from typing import Protocol

from msgspec import Struct

from zmart.market.pricing.fees import FeeSchedule
from zmart.market.types import Lamports, PriceE9, Shares


class Quantities(Struct, frozen=True):
    """A market as pricing sees it: shares of each side and the liquidity parameter b, all in 1e-9."""

    q_yes: int
    q_no: int
    b: int

    def after(self, outcome: bool, shares: int) -> Quantities:
        """The market when `shares` more (negative: fewer) of the side are out; True is YES."""
        if outcome:
            return Quantities(self.q_yes + shares, self.q_no, self.b)
        return Quantities(self.q_yes, self.q_no + shares, self.b)


class Trade(Struct, frozen=True):
    """Shares and what they cost before fees."""

    shares: Shares
    cost: Lamports


class BuyQuote(Struct, frozen=True):
    """A buy as the program would do it now. total = cost + fees is what the buyer pays."""

    shares: Shares
    cost: Lamports
    protocol_fee: Lamports
    resolver_fee: Lamports
    lp_fee: Lamports
    total: Lamports
    price_yes_before: PriceE9
    price_yes_after: PriceE9


class SellQuote(Struct, frozen=True):
    """A sale as the program would do it now. net = gross - fees is what the seller gets."""

    shares: Shares
    gross: Lamports
    protocol_fee: Lamports
    resolver_fee: Lamports
    lp_fee: Lamports
    net: Lamports
    price_yes_before: PriceE9
    price_yes_after: PriceE9


class PricingModel(Protocol):
    """LMSR in the integers of one program. Every refusal is a PricingError with that program's error name."""

    @property
    def name(self) -> str:
        """The word by which settings and quotes name the model."""

    @property
    def min_b(self) -> int:
        """The smallest b that can be traded."""

    @property
    def bounds_shares(self) -> bool:
        """Whether buy_shares refuses to give fewer shares than the buyer accepts (`min_shares`)."""

    def cost(self, q_yes: int, q_no: int, b: int) -> Lamports:
        """The potential C; a trade costs the difference of two of them."""

    def price_yes(self, q_yes: int, q_no: int, b: int) -> PriceE9:
        """The marginal price of YES; that of NO is 1e9 minus it."""

    def buy(self, q_yes: int, q_no: int, b: int, outcome: bool, budget_lamports: int) -> Trade:
        """The shares that a budget before fees buys, and their cost."""

    def sell(self, q_yes: int, q_no: int, b: int, outcome: bool, shares: int) -> Lamports:
        """The gross proceeds of shares."""

    def min_deposit(self, b: int) -> Lamports:
        """The least initial liquidity that create_market takes."""

    def max_loss(self, b: int) -> Lamports:
        """The most that the market maker can lose: b ln 2, rounded as the program rounds."""

    def buy_total(
        self, quantities: Quantities, fees: FeeSchedule, outcome: bool, target_cost_lamports: int
    ) -> BuyQuote:
        """buy_shares with its fees; target_cost is the most that the buyer pays, fees included."""

    def sell_total(
        self,
        quantities: Quantities,
        fees: FeeSchedule,
        outcome: bool,
        shares: int,
        min_proceeds_lamports: int = 0,
    ) -> SellQuote:
        """sell_shares with its fees; below min_proceeds it refuses with SlippageExceeded."""

    def cost_of_shares(
        self, quantities: Quantities, fees: FeeSchedule, outcome: bool, shares: int
    ) -> Lamports:
        """The least target_cost that buys at least `shares`. Refuses as buy_total would at that target."""
