"""Value positions and compute profit and loss, in integers rounded down.

Costs and proceeds include the fees. `store/users.py` computes the same in SQL, for the results of many wallets at once.
"""

from __future__ import annotations

from enum import Enum

from msgspec import Struct

from zmart.market.types import PRICE_ONE, Lamports


class PositionValue(Struct, frozen=True, kw_only=True):
    """Hold the value of a position and its profit, in lamports.

    `current`: the value of its shares, in a final market what a claim would pay, 0 once it is claimed. `basis`: the
    cost of the shares that `current` values. `realized`: the profit of its sales and its claim, and the loss of shares
    for which a final market pays nothing. `cost`: what was paid, for the shares still held or, in a final market, for
    all that were ever bought. `received`: what sales brought.
    """

    current: Lamports
    basis: Lamports
    realized: Lamports
    cost: Lamports
    received: Lamports
    is_final: bool

    @property
    def unrealized(self) -> Lamports:
        """Return the profit that a sale of the shares for `current` would make, in lamports."""
        return Lamports(self.current - self.basis)

    @property
    def result(self) -> Lamports:
        """Return the sum of the realized and the unrealized profit, in lamports."""
        return Lamports(self.realized + self.unrealized)

    @property
    def gain(self) -> Lamports:
        """Return the profit to compare with `cost`: the unrealized one, or in a final market the whole one."""
        return self.result if self.is_final else self.unrealized

    @property
    def claimable(self) -> Lamports:
        """Return what a claim would pay now, in lamports."""
        return self.current if self.is_final else Lamports(0)


def at_price(shares_yes: int, shares_no: int, price_yes_e9: int) -> Lamports:
    """Return the value of shares at the market's price, in lamports."""
    return Lamports((shares_yes * price_yes_e9 + shares_no * (PRICE_ONE - price_yes_e9)) // PRICE_ONE)


class ClaimRule(Enum):
    """Name the rule that determines what a claim pays. It depends on the program (docs/program.md)."""

    FIXED = "fixed"
    """A winning unit pays one lamport. If the outcome is INVALID, each unit of both sides pays half a lamport."""
    POOL = "pool"
    """A winner gets a part of the pool. If the outcome is INVALID, each wallet gets what it invested. v0.69 pays so."""

    @classmethod
    def of_model(cls, pricing_model: str) -> ClaimRule:
        """Return the claim rule of the program that a pricing model mirrors."""
        return cls.POOL if pricing_model == "v069" else cls.FIXED


class FinalMarket(Struct, frozen=True):
    """Hold the fields of a finalized market that determine a claim.

    `final_outcome` None is INVALID. `shares_yes` and `shares_no` are all outstanding shares of the market.
    """

    final_outcome: bool | None
    pool_lamports: int
    shares_yes: int
    shares_no: int


def fixed_payout(shares_yes: int, shares_no: int, final_outcome: bool | None) -> Lamports:
    """Return the lamports that a claim pays by ClaimRule.FIXED."""
    if final_outcome is None:
        return Lamports((shares_yes + shares_no) // 2)
    return Lamports(shares_yes if final_outcome else shares_no)


def pool_payout(shares_yes: int, shares_no: int, invested_lamports: int, market: FinalMarket) -> Lamports:
    """Return the lamports that a claim pays by ClaimRule.POOL."""
    if market.final_outcome is None:
        return Lamports(invested_lamports)
    held, winning = (shares_yes, market.shares_yes) if market.final_outcome else (shares_no, market.shares_no)
    return Lamports(held * market.pool_lamports // max(winning, 1))


def basis_of_sold(basis_lamports: int, sold: int, held: int) -> int:
    """Return the part of a side's cost basis that a sale takes: average cost, rounded down, in lamports."""
    return basis_lamports * sold // held if held else 0
