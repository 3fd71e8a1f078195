"""Compute the integer LMSR of the deployed program ZMART v0.69, bit for bit and with its errors.

The program differs from true LMSR (docs/pricing.md says where), and quotes for it must differ in the same way. Every
division rounds down; intermediate values have 128 bits, results 64.
"""

from __future__ import annotations

from typing import Final

from zmart.errors import PricingError
from zmart.market.amounts import amount_text
from zmart.market.pricing.constants import MIN_TRADE_LAMPORTS, U64_END, fits_u64
from zmart.market.pricing.fees import FeeSchedule, TradeFees
from zmart.market.pricing.model import PricedShares, Quantities
from zmart.market.pricing.quoting import QuotingModel
from zmart.market.types import BPS_ONE, PRICE_ONE, Lamports, PriceE9, Shares

MIN_B: Final = 100 * PRICE_ONE
LN2_E9: Final = 693_147_180
MAX_EXPONENT_E9: Final = 20 * PRICE_ONE
_ASSUMED_FEE_BPS: Final = 1_000
_SEARCH_WIDTH_IN_B: Final = 20
_SEARCH_STEPS: Final = 50
_SEARCH_TOLERANCE: Final = 1_000_000
_TOO_LITTLE_OR_TOO_MUCH: Final = frozenset({"UnderflowError", "ExponentTooLarge"})


class V069Model(QuotingModel):
    """Implement the model named `v069`."""

    @property
    def name(self) -> str:
        """As in PricingModel."""
        return "v069"

    @property
    def min_b(self) -> int:
        """Return 100 SOL in units of 1e-9.

        The program creates markets with a smaller b, but refuses all trades in them.
        """
        return MIN_B

    @property
    def bounds_shares(self) -> bool:
        """Return False: the deployed program bounds only the cost and ignores bytes after the arguments."""
        return False

    def cost(self, q_yes: int, q_no: int, b: int) -> Lamports:
        """As in PricingModel. Raises InvalidBParameter, ExponentTooLarge, OverflowError."""
        _check_b(b)
        x_e9, y_e9 = _div(q_yes, b), _div(q_no, b)
        ln_e9 = ln(PRICE_ONE + _exp_neg(abs(x_e9 - y_e9)))
        return Lamports(_mul(b, fits_u64(max(x_e9, y_e9) + ln_e9, "the potential")))

    def price_yes(self, q_yes: int, q_no: int, b: int) -> PriceE9:
        """As in PricingModel. Raises as `cost` does.

        The price falls again where |q_yes - q_no| exceeds 3.46 b.
        """
        _check_b(b)
        e_e9 = exp(_div(abs(q_yes - q_no), b))
        return PriceE9(_div(e_e9 if q_yes >= q_no else PRICE_ONE, e_e9 + PRICE_ONE))

    def buy(self, q_yes: int, q_no: int, b: int, outcome: bool, budget_lamports: int) -> PricedShares:
        """Search the shares as the program does: it finds up to 1e6 units (0.001 share) fewer than the budget buys.

        Raises as `cost` does. Also raises UnderflowError where the potential falls, as for a small purchase at balance.
        """
        fits_u64(budget_lamports, "budget")
        market = Quantities(q_yes, q_no, b)
        before = self.cost(q_yes, q_no, b)
        low, high = 0, fits_u64(_SEARCH_WIDTH_IN_B * b, "the search's end")
        for _ in range(_SEARCH_STEPS):
            if high - low <= _SEARCH_TOLERANCE:
                break
            middle = low + (high - low) // 2
            cost = self._cost_after(market, outcome, middle, before)
            if cost == budget_lamports:
                low = middle
                break
            if cost < budget_lamports:
                low = middle + 1
            else:
                high = middle
        return PricedShares(Shares(low), self._cost_after(market, outcome, low, before))

    def sell(self, q_yes: int, q_no: int, b: int, outcome: bool, shares: int) -> Lamports:
        """As in PricingModel. Raises InsufficientShares, then as `cost` does, and UnderflowError."""
        fits_u64(shares, "shares")
        if shares > (outstanding := q_yes if outcome else q_no):
            sentence = f"only {amount_text(outstanding)} shares of that side are outstanding"
            raise PricingError("InsufficientShares", sentence)
        after = Quantities(q_yes, q_no, b).after(outcome, -shares)
        gross = self.cost(q_yes, q_no, b) - self.cost(after.q_yes, after.q_no, b)
        return Lamports(fits_u64(gross, "gross proceeds"))

    def min_deposit(self, b: int) -> Lamports:
        """Return 1 lamport: the program requires a number above 0, but moves no lamports.

        Raises InvalidBParameter.
        """
        _check_b(b)
        return Lamports(1)

    def max_loss(self, b: int) -> Lamports:
        """As in PricingModel. Raises InvalidBParameter."""
        _check_b(b)
        return Lamports(_mul(b, LN2_E9))

    def cost_of_shares(
        self, quantities: Quantities, fees: FeeSchedule, outcome: bool, shares: int
    ) -> Lamports:
        """As in PricingModel, found by bisection.

        The result is exact as long as the shares that the program's search finds grow with the budget.
        """
        if fits_u64(shares, "shares") == 0:
            raise PricingError("TradeTooSmall", "no shares requested")
        if shares > _SEARCH_WIDTH_IN_B * quantities.b:
            raise PricingError("ExponentTooLarge", f"one buy gets at most {_SEARCH_WIDTH_IN_B} b")
        high = MIN_TRADE_LAMPORTS
        while not self._buys(quantities, fees, outcome, shares, high):
            high *= 2
        low = high // 2 if high > MIN_TRADE_LAMPORTS else high - 1
        while high - low > 1:
            middle = (low + high) // 2
            if self._buys(quantities, fees, outcome, shares, middle):
                high = middle
            else:
                low = middle
        self.buy_total(quantities, fees, outcome, high)
        return Lamports(high)

    def _buys(
        self, quantities: Quantities, fees: FeeSchedule, outcome: bool, shares: int, target_cost_lamports: int
    ) -> bool:
        try:
            quote = self.buy_total(quantities, fees, outcome, target_cost_lamports)
        except PricingError as error:
            if error.name in _TOO_LITTLE_OR_TOO_MUCH:
                return error.name == "ExponentTooLarge"
            raise
        return quote.shares >= shares

    def _cost_after(self, market: Quantities, outcome: bool, shares: int, before: int) -> Lamports:
        after = market.after(outcome, shares)
        fits_u64(max(after.q_yes, after.q_no), "shares")
        return Lamports(fits_u64(self.cost(after.q_yes, after.q_no, after.b) - before, "the cost"))

    def _budget_before_fees(self, fees: FeeSchedule, target_cost_lamports: int) -> int:
        # The program divides by a fixed 11,000, whatever the configured fees are.
        return target_cost_lamports * BPS_ONE // (BPS_ONE + _ASSUMED_FEE_BPS)

    def _fees_of(self, fees: FeeSchedule, amount_lamports: int) -> TradeFees:
        if fees.total_bps == 0:
            raise PricingError("DivisionByZero", "the program divides by the sum of the fees")
        return fees.split(amount_lamports)

    def _refuse_empty(self, trade: PricedShares) -> None:
        """Accept an empty trade, as the program does."""


def b_from_max_loss(max_loss_lamports: int) -> int:
    """Return the b whose maximal loss is `max_loss_lamports`, at least MIN_B."""
    return max(_div(max_loss_lamports, LN2_E9), MIN_B)


def exp(x_e9: int) -> int:
    """Compute the program's exp of a number in units of 1e-9.

    It is a Pade (2,2) quotient: accurate below 1, and falling beyond 3.46. Raises ExponentTooLarge beyond 20.
    """
    if x_e9 > MAX_EXPONENT_E9:
        raise PricingError(
            "ExponentTooLarge", "so many shares are beyond the last price: a side leads by 20 b at most"
        )
    square = _mul(x_e9, x_e9)
    numerator = PRICE_ONE + x_e9 // 2 + square // 12
    return _div(numerator, PRICE_ONE + square // 12 - x_e9 // 2)


def ln(z_e9: int) -> int:
    """Compute the program's ln of a number in units of 1e-9, which is at least 1.

    The result is exact at 1 and 2, and elsewhere too low by at most 1.43e-4.
    """
    doublings = 0
    while z_e9 >= 2 * PRICE_ONE:
        z_e9 //= 2
        doublings += 1
    y = _div(z_e9 - PRICE_ONE, z_e9 + PRICE_ONE)
    y2 = _mul(y, y)
    y3 = _mul(y2, y)
    return 2 * (y + y3 // 3 + _mul(y3, y2) // 5) + doublings * LN2_E9


def _exp_neg(x_e9: int) -> int:
    return _div(PRICE_ONE, exp(x_e9))


def _check_b(b: int) -> None:
    if not MIN_B <= b < U64_END:
        raise PricingError("InvalidBParameter", f"b must be at least {MIN_B}, not {b}")


def _mul(a: int, b: int) -> int:
    return fits_u64(a * b // PRICE_ONE, "a product")


def _div(a: int, b: int) -> int:
    if b == 0:
        raise PricingError("DivisionByZero", "a division by zero")
    return fits_u64(a * PRICE_ONE // b, "a quotient")
