"""Define how money moves in a market's accounts, for each of the two programs.

`reference` is programs/zmart_core (trading.c, settlement.c). `v069` is the deployed program: its pool receives only
fees, and a market starts with b / 1000 shares on each side.
"""

from __future__ import annotations

from typing import Any, Protocol, TypeAlias, assert_never

from msgspec.structs import replace

from zmart.market import valuation
from zmart.market.columns import MarketColumns
from zmart.market.fold_state import MarketFold, PositionFold
from zmart.market.lifecycle import FoldError
from zmart.market.pricing import PricingModelName, TradeFees
from zmart.market.types import Lamports, MarketState, Shares
from zmart.market.valuation import FinalMarket

AnyMarket: TypeAlias = MarketColumns[Any, bool, Any]
"""A market of the fold or a row of the store."""


class Books(Protocol):
    """Compute the amounts of a market after an event. Methods raise FoldError if the amounts are impossible."""

    def opening_shares(self, b_parameter: Shares) -> Shares:
        """Return the shares that each side of a new market has."""

    def buy(self, market: MarketFold, cost: Lamports, fees: TradeFees) -> MarketFold:
        """Return the market after a purchase that cost `cost` lamports plus `fees`."""

    def sell(self, market: MarketFold, gross: Lamports, fees: TradeFees) -> MarketFold:
        """Return the market after a sale with the gross proceeds `gross`; the seller gets them less `fees`."""

    def claim(self, market: MarketFold, position: PositionFold, amount: Lamports) -> MarketFold:
        """Return the market after a claim that paid `amount` lamports for `position`."""

    def free(self, market: AnyMarket) -> Lamports:
        """Return the lamports that the creator could withdraw now, as far as the events show it."""
        ...

    def withdraw(self, market: MarketFold, amount: Lamports) -> MarketFold:
        """Return the market after its creator has withdrawn `amount` lamports."""

    def withdraw_owed(self, market: MarketFold) -> MarketFold:
        """Return the market after a wallet other than the creator has withdrawn what the market owed it."""
        ...


def books(name: PricingModelName) -> Books:
    """Return the accounting rules of the program that the pricing model mirrors."""
    match name:
        case "v069":
            return DeployedBooks()
        case "reference":
            return ReferenceBooks()
        case _:
            assert_never(name)


class ReferenceBooks:
    """Account as the program of this repository: the pool holds costs, and fees are accumulated separately.

    A payment to the fee wallet or the resolver counts as paid when it falls due, even if the wallet could not be
    credited. No event shows such a debt; only the market's account records it (`chain.accounts.MarketNotes`).
    """

    def opening_shares(self, b_parameter: Shares) -> Shares:
        """Return 0: a new market has no shares."""
        return Shares(0)

    def buy(self, market: MarketFold, cost: Lamports, fees: TradeFees) -> MarketFold:
        """Add the cost to the pool and each fee to its accumulator."""
        return replace(
            market,
            current_liquidity=market.current_liquidity + cost,
            total_volume=market.total_volume + cost + fees.total,
            **_accumulated(market, fees),
        )

    def sell(self, market: MarketFold, gross: Lamports, fees: TradeFees) -> MarketFold:
        """Take the gross proceeds from the pool and add each fee to its accumulator.

        Raises FoldError if the pool holds less.
        """
        return replace(
            market,
            current_liquidity=_minus(market.current_liquidity, gross, "the pool"),
            total_volume=market.total_volume + gross,
            **_accumulated(market, fees),
        )

    def claim(self, market: MarketFold, position: PositionFold, amount: Lamports) -> MarketFold:
        """Take one lamport per winning unit from the pool, or half a lamport per unit without an outcome.

        Raises FoldError if `amount` is another. With an outcome the claim also takes the resolver's accumulated fees.
        """
        if market.final_outcome is None:
            closed, reward_left = position.shares_yes + position.shares_no, market.accumulated_resolver_fees
        else:
            closed, reward_left = position.shares(market.final_outcome), Lamports(0)
        payout = valuation.fixed_payout(position.shares_yes, position.shares_no, market.final_outcome)
        if amount != payout:
            raise FoldError(f"a claim paid {amount} lamports where the position is worth {payout}")
        return replace(
            market,
            current_liquidity=_minus(market.current_liquidity, amount, "the pool"),
            claimed_shares=market.claimed_shares + closed,
            accumulated_resolver_fees=reward_left,
        )

    def free(self, market: AnyMarket) -> Lamports:
        """Return what the pool holds above open claims, plus LP fees, plus a reward that no claim can pay.

        Raises FoldError if the pool holds less than the open claims.
        """
        above = _minus(market.current_liquidity, _open_claims(market), "the pool")
        return Lamports(above + market.accumulated_lp_fees + _lost_reward(market))

    def withdraw(self, market: MarketFold, amount: Lamports) -> MarketFold:
        """Leave only the open claims in the pool. Raises FoldError if `amount` is not the free amount."""
        if amount != (free := self.free(market)):
            raise FoldError(f"{amount} lamports were withdrawn where {free} were free")
        return replace(
            market,
            current_liquidity=_open_claims(market),
            accumulated_lp_fees=0,
            accumulated_resolver_fees=market.accumulated_resolver_fees - _lost_reward(market),
        )

    def withdraw_owed(self, market: MarketFold) -> MarketFold:
        """Return the market unchanged: the debt counts as paid since it fell due."""
        return market


class DeployedBooks:
    """Account as v0.69: costs never enter the pool, and protocol fees are not accumulated.

    A withdrawal takes the whole pool.
    """

    def opening_shares(self, b_parameter: Shares) -> Shares:
        """Return a thousandth of b for each side."""
        return Shares(b_parameter // 1000)

    def buy(self, market: MarketFold, cost: Lamports, fees: TradeFees) -> MarketFold:
        """Add the resolver and LP fees to the pool; the cost does not enter it."""
        return replace(
            market,
            current_liquidity=market.current_liquidity + fees.resolver + fees.lp,
            total_volume=market.total_volume + cost + fees.total,
            **_accumulated(market, fees, protocol=False),
        )

    def sell(self, market: MarketFold, gross: Lamports, fees: TradeFees) -> MarketFold:
        """Take the gross proceeds less resolver and LP fees from the pool.

        Raises FoldError if the pool holds less.
        """
        paid_out = gross - fees.resolver - fees.lp
        return replace(
            market,
            current_liquidity=_minus(market.current_liquidity, paid_out, "the pool"),
            total_volume=market.total_volume + gross,
            **_accumulated(market, fees, protocol=False),
        )

    def claim(self, market: MarketFold, position: PositionFold, amount: Lamports) -> MarketFold:
        """Check that a claim paid a winner's part of the pool, or without an outcome what the wallet invested.

        The pool stays as it is. With an outcome the resolver's accumulated fees become 0. Raises FoldError for another
        amount.
        """
        final = FinalMarket(
            market.final_outcome, market.current_liquidity, market.shares_yes, market.shares_no
        )
        payout = valuation.pool_payout(
            position.shares_yes, position.shares_no, position.total_invested, final
        )
        if amount != payout:
            raise FoldError(f"a claim paid {amount} lamports where the position is worth {payout}")
        if market.final_outcome is None:
            return market
        return replace(market, accumulated_resolver_fees=0)

    def free(self, market: AnyMarket) -> Lamports:
        """Return 0: a withdrawal takes all lamports of the account, and no event shows how many these are."""
        return Lamports(0)

    def withdraw(self, market: MarketFold, amount: Lamports) -> MarketFold:
        """Empty the pool and the LP fees.

        Raises FoldError for a cancelled market, from which v0.69 pays nothing.
        """
        if market.state is MarketState.CANCELLED:
            raise FoldError("LiquidityWithdrawn cannot happen to a market that is CANCELLED")
        return replace(market, current_liquidity=0, accumulated_lp_fees=0)

    def withdraw_owed(self, market: MarketFold) -> MarketFold:
        """Raise FoldError: in v0.69 only the creator can withdraw."""
        raise FoldError("only the creator withdraws from a market of v0.69")


def _accumulated(market: MarketFold, fees: TradeFees, *, protocol: bool = True) -> dict[str, int]:
    return {
        "accumulated_protocol_fees": market.accumulated_protocol_fees + (fees.protocol if protocol else 0),
        "accumulated_resolver_fees": market.accumulated_resolver_fees + fees.resolver,
        "accumulated_lp_fees": market.accumulated_lp_fees + fees.lp,
    }


def _minus(whole: int, part: int, what: str) -> int:
    if part > whole:
        raise FoldError(f"{what} holds {whole}, less than the {part} to be paid")
    return whole - part


def _winning_shares(market: AnyMarket) -> int:
    return market.shares_yes if market.final_outcome else market.shares_no


def _open_claims(market: AnyMarket) -> int:
    if market.cancelled_at is not None:
        return 0
    if market.final_outcome is None:
        return (market.shares_yes + market.shares_no - market.claimed_shares + 1) // 2
    return _minus(_winning_shares(market), market.claimed_shares, "the winning side")


def _lost_reward(market: AnyMarket) -> int:
    """Return the resolver's accumulated fees if no claim can pay them out, else 0."""
    is_unclaimable = market.final_outcome is None or _winning_shares(market) == 0
    return market.accumulated_resolver_fees if is_unclaimable else 0
