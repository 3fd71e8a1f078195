"""Compute the events that are missing in a truncated log, as the program computes them.

They follow from the instruction's arguments, the market before the instruction, and the config in force.
"""

from __future__ import annotations

from zmart.errors import PricingError
from zmart.market import events as e
from zmart.market.fold_books import Books
from zmart.market.fold_config import ConfigFold
from zmart.market.fold_state import MarketFold
from zmart.market.lifecycle import FoldError
from zmart.market.pricing import PricingModel, Quantities
from zmart.market.tally import Tally
from zmart.market.types import Lamports, Shares


def complete(
    lost: e.Unlogged, market: MarketFold, config: ConfigFold, model: PricingModel, books: Books
) -> e.AnyEvent:
    """Return the event that the program emitted for an instruction on a market.

    Raises FoldError if the instruction cannot have run in that state.
    """
    match lost.instruction:
        case "buy_shares":
            return _bought(lost, market, config, model)
        case "sell_shares":
            return _sold(lost, market, config, model)
        case "withdraw_liquidity":
            return _withdrawn(lost, market, books)
        case "aggregate_proposal_votes":
            likes, dislikes = _number(lost, "final_likes"), _number(lost, "final_dislikes")
            bps = Tally(likes, dislikes).bps
            return e.ProposalAggregated(
                market_id=market.market_id,
                likes=likes,
                dislikes=dislikes,
                approval_percentage=bps // 100,
                approved=bps >= config.proposal_approval_threshold,
                timestamp=lost.timestamp,
            )
        case "aggregate_dispute_votes":
            agrees, disagrees = _number(lost, "final_agrees"), _number(lost, "final_disagrees")
            tally = Tally(agrees, disagrees)
            return e.DisputeAggregated(
                market_id=market.market_id,
                agrees=agrees,
                disagrees=disagrees,
                agreement_percentage=tally.bps // 100,
                dispute_succeeded=tally.reaches(config.dispute_success_threshold),
                timestamp=lost.timestamp,
            )
        case "update_global_config" | "emergency_pause":
            raise FoldError(f"{lost.instruction} is not about a market")


def _withdrawn(lost: e.Unlogged, market: MarketFold, books: Books) -> e.LiquidityWithdrawn:
    """Return the event of a withdrawal; its amount is 0 if another wallet than the creator withdrew.

    No other event shows what the market owed that wallet, so the amount is lost with the log. The fold does not need
    it, and the stored event says that its log was truncated.
    """
    is_creator = lost.user == market.creator
    return e.LiquidityWithdrawn(
        market_id=market.market_id,
        creator=lost.user,
        amount=books.free(market) if is_creator else Lamports(0),
        timestamp=lost.timestamp,
    )


def _bought(lost: e.Unlogged, market: MarketFold, config: ConfigFold, model: PricingModel) -> e.SharesBought:
    outcome = bool(lost.arguments["outcome"])
    try:
        quote = model.buy_total(_quantities(market), config.fees, outcome, _number(lost, "target_cost"))
    except PricingError as error:
        raise FoldError(f"the model {model.name} refuses this buy: {error}") from error
    return e.SharesBought(
        market_id=market.market_id,
        user=lost.user,
        outcome=outcome,
        shares=quote.shares,
        cost=quote.total,
        new_price_yes=quote.price_yes_after,
        timestamp=lost.timestamp,
    )


def _sold(lost: e.Unlogged, market: MarketFold, config: ConfigFold, model: PricingModel) -> e.SharesSold:
    outcome, shares = bool(lost.arguments["outcome"]), Shares(_number(lost, "shares_to_sell"))
    try:
        quote = model.sell_total(_quantities(market), config.fees, outcome, shares)
    except PricingError as error:
        raise FoldError(f"the model {model.name} refuses this sale: {error}") from error
    return e.SharesSold(
        market_id=market.market_id,
        user=lost.user,
        outcome=outcome,
        shares=shares,
        proceeds=quote.net,
        new_price_yes=quote.price_yes_after,
        timestamp=lost.timestamp,
    )


def _quantities(market: MarketFold) -> Quantities:
    return Quantities(market.shares_yes, market.shares_no, market.b_parameter)


def _number(lost: e.Unlogged, name: str) -> int:
    value = lost.arguments[name]
    if value is None:
        raise FoldError(f"{lost.instruction} came without {name}")
    return int(value)
