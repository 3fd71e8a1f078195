"""Quote whole trades, fees included, with the arithmetic of a pricing model."""

from __future__ import annotations

from abc import ABC, abstractmethod

from zmart.errors import PricingError
from zmart.market.amounts import amount_text
from zmart.market.pricing.constants import MIN_TRADE_LAMPORTS, fits_u64
from zmart.market.pricing.fees import FeeSchedule, TradeFees
from zmart.market.pricing.model import BuyQuote, PricedShares, Quantities, SellQuote
from zmart.market.types import Lamports, PriceE9, Shares

_LEAST = f"{amount_text(MIN_TRADE_LAMPORTS)} SOL"


class QuotingModel(ABC):
    """Apply the checks of buy_shares and sell_shares in the program's order, for all pricing models."""

    @abstractmethod
    def price_yes(self, q_yes: int, q_no: int, b: int) -> PriceE9:
        """As in PricingModel."""

    @abstractmethod
    def buy(self, q_yes: int, q_no: int, b: int, outcome: bool, budget_lamports: int) -> PricedShares:
        """As in PricingModel."""

    @abstractmethod
    def sell(self, q_yes: int, q_no: int, b: int, outcome: bool, shares: int) -> Lamports:
        """As in PricingModel."""

    @abstractmethod
    def _budget_before_fees(self, fees: FeeSchedule, target_cost_lamports: int) -> int: ...

    @abstractmethod
    def _fees_of(self, fees: FeeSchedule, amount_lamports: int) -> TradeFees: ...

    @abstractmethod
    def _refuse_empty(self, trade: PricedShares) -> None: ...

    def buy_total(
        self, quantities: Quantities, fees: FeeSchedule, outcome: bool, target_cost_lamports: int
    ) -> BuyQuote:
        """As in PricingModel. Raises TradeTooSmall, SlippageExceeded or an error of the arithmetic."""
        fits_u64(target_cost_lamports, "target_cost")
        if target_cost_lamports < MIN_TRADE_LAMPORTS:
            raise PricingError("TradeTooSmall", f"a trade is at least {_LEAST}")
        q_yes, q_no, b = quantities.q_yes, quantities.q_no, quantities.b
        trade = self.buy(q_yes, q_no, b, outcome, self._budget_before_fees(fees, target_cost_lamports))
        self._refuse_empty(trade)
        paid = self._fees_of(fees, trade.cost)
        total = Lamports(trade.cost + paid.total)
        if total > target_cost_lamports:
            bound = amount_text(target_cost_lamports)
            raise PricingError(
                "SlippageExceeded", f"{amount_text(total)} SOL with fees, more than {bound} SOL"
            )
        return BuyQuote(
            shares=trade.shares,
            cost=trade.cost,
            fees=paid,
            total=total,
            price_yes_before=self.price_yes(q_yes, q_no, b),
            price_yes_after=self._price_yes(quantities.after(outcome, trade.shares)),
        )

    def sell_total(
        self,
        quantities: Quantities,
        fees: FeeSchedule,
        outcome: bool,
        shares: int,
        min_proceeds_lamports: int = 0,
    ) -> SellQuote:
        """As in PricingModel. Raises TradeTooSmall, SlippageExceeded or an error of the arithmetic."""
        gross = self.sell(quantities.q_yes, quantities.q_no, quantities.b, outcome, shares)
        if gross < MIN_TRADE_LAMPORTS:
            brings = f"these shares bring {amount_text(gross)} SOL"
            raise PricingError("TradeTooSmall", f"{brings}, and a trade is at least {_LEAST}")
        paid = self._fees_of(fees, gross)
        net = Lamports(gross - paid.total)
        if net < min_proceeds_lamports:
            bound = amount_text(min_proceeds_lamports)
            raise PricingError(
                "SlippageExceeded", f"{amount_text(net)} SOL after fees, less than {bound} SOL"
            )
        return SellQuote(
            shares=Shares(shares),
            gross=gross,
            fees=paid,
            net=net,
            price_yes_before=self._price_yes(quantities),
            price_yes_after=self._price_yes(quantities.after(outcome, -shares)),
        )

    def _price_yes(self, quantities: Quantities) -> PriceE9:
        return self.price_yes(quantities.q_yes, quantities.q_no, quantities.b)
