"""Compute correct LMSR in integers, bit-equal with the program of this repository (programs/zmart_core/math.c).

C = max(q_yes, q_no) + F(d, b) with d = |q_yes - q_no|, and F is the integer just above b ln(1 + exp(-d/b)).
docs/pricing.md states the bounds. One more unit (1e-9 share) changes C by 0 or 1 lamport, so a buyer spends the budget
before fees exactly.
"""

from __future__ import annotations

from typing import Final

from zmart.errors import PricingError
from zmart.market.amounts import amount_text
from zmart.market.pricing.constants import MIN_TRADE_LAMPORTS, fits_u64
from zmart.market.pricing.fees import FeeSchedule, TradeFees
from zmart.market.pricing.fixed_point import ONE_Q58, exp_neg, ln_1p, ratio_q58
from zmart.market.pricing.model import PricedShares, Quantities
from zmart.market.pricing.quoting import QuotingModel
from zmart.market.types import BPS_ONE, PRICE_ONE, Lamports, PriceE9, Shares

MIN_B: Final = 10_000_000
MAX_B: Final = 10**15
MAX_Q: Final = 1 << 62
MAX_EXPONENT: Final = 60
_MARGIN_Q62: Final = 32


class ReferenceModel(QuotingModel):
    """Implement the model named `reference`."""

    @property
    def name(self) -> str:
        """As in PricingModel."""
        return "reference"

    @property
    def min_b(self) -> int:
        """Return 10,000,000, which is 0.01 SOL."""
        return MIN_B

    @property
    def bounds_shares(self) -> bool:
        """Return True: the program reads `min_shares` from eight bytes after the arguments."""
        return True

    def cost(self, q_yes: int, q_no: int, b: int) -> Lamports:
        """As in PricingModel.

        Raises InvalidBParameter, OverflowError, UnderflowError and ExponentTooLarge, checked in this order.
        """
        _check(q_yes, q_no, b)
        return Lamports(_potential(q_yes, q_no, b))

    def price_yes(self, q_yes: int, q_no: int, b: int) -> PriceE9:
        """As in PricingModel, to the nearest 1e-9. Raises as `cost` does."""
        _check(q_yes, q_no, b)
        odds_q58 = ONE_Q58 + exp_neg(ratio_q58(abs(q_yes - q_no), b))
        dear = ((PRICE_ONE << 58) + odds_q58 // 2) // odds_q58
        return PriceE9(dear if q_yes >= q_no else PRICE_ONE - dear)

    def buy(self, q_yes: int, q_no: int, b: int, outcome: bool, budget_lamports: int) -> PricedShares:
        """Return the most shares whose cost is at most the budget.

        Raises as `cost` does. Also raises ExponentTooLarge (or OverflowError) if the budget exceeds the cost of all
        shares that the model can still sell.
        """
        fits_u64(budget_lamports, "budget")
        _check(q_yes, q_no, b)
        q_side, q_other = (q_yes, q_no) if outcome else (q_no, q_yes)
        bound = q_other + MAX_EXPONENT * b
        last = min(bound, MAX_Q)
        target = _potential(q_side, q_other, b) + budget_lamports
        if _potential(last, q_other, b) < target:
            name = "OverflowError" if bound > MAX_Q else "ExponentTooLarge"
            raise PricingError(name, "the budget is more than the market can sell")
        after = _last_within(target, q_side + budget_lamports, last, q_other, b)
        cost = _potential(after, q_other, b) - _potential(q_side, q_other, b)
        return PricedShares(Shares(after - q_side), Lamports(cost))

    def sell(self, q_yes: int, q_no: int, b: int, outcome: bool, shares: int) -> Lamports:
        """As in PricingModel.

        Raises as `cost` does for the market before and after the sale, and InsufficientShares for more shares than are
        outstanding.
        """
        fits_u64(shares, "shares")
        before = self.cost(q_yes, q_no, b)
        if shares > (outstanding := q_yes if outcome else q_no):
            sentence = f"only {amount_text(outstanding)} shares of that side are outstanding"
            raise PricingError("InsufficientShares", sentence)
        after = Quantities(q_yes, q_no, b).after(outcome, -shares)
        return Lamports(before - self.cost(after.q_yes, after.q_no, b))

    def min_deposit(self, b: int) -> Lamports:
        """Return C(0, 0), which is at least b ln 2. With it the pool always covers every winning share."""
        return self.cost(0, 0, b)

    def max_loss(self, b: int) -> Lamports:
        """Return the least deposit: with it the pool covers every winning share, so no more can be lost."""
        return self.min_deposit(b)

    def cost_of_shares(
        self, quantities: Quantities, fees: FeeSchedule, outcome: bool, shares: int
    ) -> Lamports:
        """As in PricingModel. Raises TradeTooSmall for 0 shares."""
        if fits_u64(shares, "shares") == 0:
            raise PricingError("TradeTooSmall", "no shares requested")
        after = quantities.after(outcome, shares)
        cost = self.cost(after.q_yes, after.q_no, after.b)
        cost_lamports = cost - self.cost(quantities.q_yes, quantities.q_no, quantities.b)
        target = max(-(-cost_lamports * (BPS_ONE + fees.total_bps) // BPS_ONE), MIN_TRADE_LAMPORTS)
        self.buy_total(quantities, fees, outcome, target)
        return Lamports(target)

    def _budget_before_fees(self, fees: FeeSchedule, target_cost_lamports: int) -> int:
        return target_cost_lamports * BPS_ONE // (BPS_ONE + fees.total_bps)

    def _fees_of(self, fees: FeeSchedule, amount_lamports: int) -> TradeFees:
        return fees.split(amount_lamports)

    def _refuse_empty(self, trade: PricedShares) -> None:
        if trade.shares == 0 or trade.cost == 0:
            raise PricingError("TradeTooSmall", "the budget buys nothing")


def _check(q_a: int, q_b: int, b: int) -> None:
    if not MIN_B <= b <= MAX_B:
        raise PricingError("InvalidBParameter", f"b must be {MIN_B} to {MAX_B}, not {b}")
    if max(q_a, q_b) > MAX_Q:
        raise PricingError("OverflowError", f"a market has at most {amount_text(MAX_Q)} shares of a side")
    if min(q_a, q_b) < 0:
        raise PricingError("UnderflowError", "shares are negative")
    if abs(q_a - q_b) > MAX_EXPONENT * b:
        raise PricingError(
            "ExponentTooLarge",
            f"so many shares are beyond the last price: a side leads by {MAX_EXPONENT} b at most",
        )


def _potential(q_a: int, q_b: int, b: int) -> int:
    ln_q62 = ln_1p(exp_neg(ratio_q58(abs(q_a - q_b), b))) + _MARGIN_Q62
    return max(q_a, q_b) + -(-b * ln_q62 >> 62)


def _last_within(target: int, first: int, last: int, q_other: int, b: int) -> int:
    low, end = first, min(last, target) + 1
    while end - low > 1:
        middle = (low + end) // 2
        if _potential(middle, q_other, b) <= target:
            low = middle
        else:
            end = middle
    return low
