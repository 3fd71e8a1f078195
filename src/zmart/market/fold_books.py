"""How money moves in a market's books, for each of the two programs.

`reference`: programs/zmart_core (trading.c, settlement.c). `v069`: the deployed program, whose pool receives only
fees and whose shares start at b / 1000 a side.
"""

from __future__ import annotations

from typing import Protocol, assert_never

from msgspec.structs import replace

from zmart.market.fold_state import MarketFold, PositionFold
from zmart.market.lifecycle import FoldError
from zmart.market.pricing import Fees, PricingModelName
from zmart.market.types import Lamports, MarketState, Shares


class Books(Protocol):
    """Each method gives the market after the books of one event. Raises FoldError when the amounts cannot be."""

    def opening_shares(self, b_parameter: Shares) -> Shares: ...

    def buy(self, market: MarketFold, cost: Lamports, fees: Fees) -> MarketFold: ...

    def sell(self, market: MarketFold, gross: Lamports, fees: Fees) -> MarketFold: ...

    def claim(self, market: MarketFold, position: PositionFold, amount: Lamports) -> MarketFold: ...

    def free(self, market: MarketFold) -> Lamports:
        """What a withdrawal takes now, as far as the books know."""
        ...

    def withdraw(self, market: MarketFold, amount: Lamports) -> MarketFold: ...

    def withdraw_owed(self, market: MarketFold) -> MarketFold:
        """Another wallet than the creator withdrew what the market owed it."""
        ...


def books(name: PricingModelName) -> Books:
    """The books of the program that prices by that model."""
    match name:
        case "v069":
            return DeployedBooks()
        case "reference":
            return ReferenceBooks()
        case _:
            assert_never(name)


class ReferenceBooks:
    """The pool holds costs alone; fees have accumulators of their own; nothing is paid twice.

    A debt that could not be paid left these books when it fell due, paid or not: no event tells which, so it is noted
    in the account alone (`chain.accounts.MarketNotes`).
    """

    def opening_shares(self, b_parameter: Shares) -> Shares:
        return Shares(0)

    def buy(self, market: MarketFold, cost: Lamports, fees: Fees) -> MarketFold:
        return replace(
            market,
            current_liquidity=market.current_liquidity + cost,
            total_volume=market.total_volume + cost + fees.total,
            **_accumulated(market, fees),
        )

    def sell(self, market: MarketFold, gross: Lamports, fees: Fees) -> MarketFold:
        return replace(
            market,
            current_liquidity=_minus(market.current_liquidity, gross, "the pool"),
            total_volume=market.total_volume + gross,
            **_accumulated(market, fees),
        )

    def claim(self, market: MarketFold, position: PositionFold, amount: Lamports) -> MarketFold:
        if market.final_outcome is None:
            closed = position.shares_yes + position.shares_no
            payout, reward_left = closed // 2, market.accumulated_resolver_fees
        else:
            closed = position.shares(market.final_outcome)
            payout, reward_left = closed, Lamports(0)
        if amount != payout:
            raise FoldError(f"a claim paid {amount} lamports where the position is worth {payout}")
        return replace(
            market,
            current_liquidity=_minus(market.current_liquidity, amount, "the pool"),
            claimed_shares=market.claimed_shares + closed,
            accumulated_resolver_fees=reward_left,
        )

    def free(self, market: MarketFold) -> Lamports:
        above = _minus(market.current_liquidity, _open_claims(market), "the pool")
        return Lamports(above + market.accumulated_lp_fees + _lost_reward(market))

    def withdraw(self, market: MarketFold, amount: Lamports) -> MarketFold:
        if amount != (free := self.free(market)):
            raise FoldError(f"{amount} lamports were withdrawn where {free} were free")
        return replace(
            market,
            current_liquidity=_open_claims(market),
            accumulated_lp_fees=0,
            accumulated_resolver_fees=market.accumulated_resolver_fees - _lost_reward(market),
        )

    def withdraw_owed(self, market: MarketFold) -> MarketFold:
        return market


class DeployedBooks:
    """v0.69: costs never enter the pool, protocol fees are not accumulated, a withdrawal takes all there is."""

    def opening_shares(self, b_parameter: Shares) -> Shares:
        return Shares(b_parameter // 1000)

    def buy(self, market: MarketFold, cost: Lamports, fees: Fees) -> MarketFold:
        return replace(
            market,
            current_liquidity=market.current_liquidity + fees.resolver + fees.lp,
            total_volume=market.total_volume + cost + fees.total,
            **_accumulated(market, fees, protocol=False),
        )

    def sell(self, market: MarketFold, gross: Lamports, fees: Fees) -> MarketFold:
        paid_out = gross - fees.resolver - fees.lp
        return replace(
            market,
            current_liquidity=_minus(market.current_liquidity, paid_out, "the pool"),
            total_volume=market.total_volume + gross,
            **_accumulated(market, fees, protocol=False),
        )

    def claim(self, market: MarketFold, position: PositionFold, amount: Lamports) -> MarketFold:
        payout: int = position.total_invested
        if market.final_outcome is not None:
            held = position.shares(market.final_outcome)
            payout = held * market.current_liquidity // max(_winning_shares(market), 1)
        if amount != payout:
            raise FoldError(f"a claim paid {amount} lamports where the position is worth {payout}")
        if market.final_outcome is None:
            return market
        return replace(market, accumulated_resolver_fees=0)

    def free(self, market: MarketFold) -> Lamports:
        """All lamports of the account, donated ones too; the books, which do not hold the amount, end empty."""
        return Lamports(0)

    def withdraw(self, market: MarketFold, amount: Lamports) -> MarketFold:
        if market.state is MarketState.CANCELLED:
            raise FoldError("LiquidityWithdrawn cannot happen to a market that is CANCELLED")
        return replace(market, current_liquidity=0, accumulated_lp_fees=0)

    def withdraw_owed(self, market: MarketFold) -> MarketFold:
        raise FoldError("only the creator withdraws from a market of v0.69")


def _accumulated(market: MarketFold, fees: Fees, *, protocol: bool = True) -> dict[str, int]:
    return {
        "accumulated_protocol_fees": market.accumulated_protocol_fees + (fees.protocol if protocol else 0),
        "accumulated_resolver_fees": market.accumulated_resolver_fees + fees.resolver,
        "accumulated_lp_fees": market.accumulated_lp_fees + fees.lp,
    }


def _minus(whole: int, part: int, what: str) -> int:
    if part > whole:
        raise FoldError(f"{what} holds {whole}, less than the {part} that would leave it")
    return whole - part


def _winning_shares(market: MarketFold) -> int:
    return market.shares_yes if market.final_outcome else market.shares_no


def _open_claims(market: MarketFold) -> int:
    if market.state is MarketState.CANCELLED:
        return 0
    if market.final_outcome is None:
        return (market.shares_yes + market.shares_no - market.claimed_shares + 1) // 2
    return _minus(_winning_shares(market), market.claimed_shares, "the winning side")


def _lost_reward(market: MarketFold) -> int:
    """The resolver's fees, when no claim can pay them out."""
    nobody_can_claim = market.final_outcome is None or _winning_shares(market) == 0
    return market.accumulated_resolver_fees if nobody_can_claim else 0
