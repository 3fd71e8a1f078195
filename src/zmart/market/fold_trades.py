"""Compute what the event of a trade omits: the cost before fees, and the split of the fees."""

from __future__ import annotations

from zmart.errors import PricingError
from zmart.market.events import SharesBought, SharesSold
from zmart.market.fold_state import MarketFold
from zmart.market.lifecycle import FoldError
from zmart.market.pricing import FeeSchedule, PricingModel, TradeFees
from zmart.market.types import BPS_ONE, Lamports


def price_buy(
    model: PricingModel, market: MarketFold, schedule: FeeSchedule, event: SharesBought
) -> tuple[Lamports, TradeFees]:
    """Return a purchase's cost before fees and its fees.

    The cost follows from the event's total and the fee rates alone, and must equal what the model charges for the
    shares. Raises FoldError if it does not: a trade is missing, or PRICING_MODEL is not that of the program.
    """
    try:
        cost, fees = _before_fees(event.cost, schedule)
        expected = _potential_after(model, market, event.outcome, event.shares) - model.cost(
            market.shares_yes, market.shares_no, market.b_parameter
        )
    except PricingError as error:
        raise FoldError(f"the model {model.name} refuses this buy: {error}") from error
    if expected != cost:
        raise FoldError(
            f"the buy cost {cost} lamports before fees, the model {model.name} computes {expected}"
        )
    return cost, fees


def price_sell(
    model: PricingModel, market: MarketFold, schedule: FeeSchedule, event: SharesSold
) -> tuple[Lamports, TradeFees]:
    """Return a sale's gross proceeds and its fees.

    Raises FoldError if the net proceeds are not those of the event.
    """
    try:
        gross = model.sell(
            market.shares_yes, market.shares_no, market.b_parameter, event.outcome, event.shares
        )
        fees = schedule.split(gross)
    except PricingError as error:
        raise FoldError(f"the model {model.name} refuses this sale: {error}") from error
    if gross - fees.total != event.proceeds:
        raise FoldError(
            f"the sale paid {event.proceeds} lamports, the model {model.name} {gross - fees.total}"
        )
    return gross, fees


def _potential_after(model: PricingModel, market: MarketFold, outcome: bool, shares: int) -> int:
    if outcome:
        return model.cost(market.shares_yes + shares, market.shares_no, market.b_parameter)
    return model.cost(market.shares_yes, market.shares_no + shares, market.b_parameter)


def _before_fees(total_lamports: int, schedule: FeeSchedule) -> tuple[Lamports, TradeFees]:
    """Return the cost and the fees that add up to a total. Raises FoldError if no cost does.

    The total cost + floor(cost * bps / 10000) grows with the cost, so only two neighbouring costs are tried.
    """
    guess = total_lamports * BPS_ONE // (BPS_ONE + schedule.total_bps)
    for cost in (guess, guess + 1):
        fees = schedule.split(cost)
        if cost + fees.total == total_lamports:
            return Lamports(cost), fees
    raise FoldError(f"no cost makes a total of {total_lamports} lamports at {schedule.total_bps} bps of fees")
