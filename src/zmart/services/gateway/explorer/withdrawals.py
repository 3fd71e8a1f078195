"""Tell whether the creator of a market can withdraw from it, for the panel of its page."""

from __future__ import annotations

import msgspec

from zmart.market.fold_books import ReferenceBooks
from zmart.market.lifecycle import FoldError
from zmart.market.types import Lamports
from zmart.market.valuation import ClaimRule
from zmart.services.gateway.explorer import numbers
from zmart.store.markets import MarketRow


class Withdrawal(msgspec.Struct, frozen=True):
    """A withdrawal by a market's creator: whether the program would make it now, and a sentence about it."""

    is_possible: bool
    note: str


_EMPTY = Withdrawal(False, "The pool is empty: its creator has withdrawn.")
_EVERYTHING = Withdrawal(
    True, "Its creator can withdraw all that the market's account holds, open claims included."
)


def of_creator(row: MarketRow, rule: ClaimRule) -> Withdrawal | None:
    """Return what the creator of a market can withdraw. None while the program pays nothing to a creator: before the
    end, and in v0.69 from a cancelled market, whose deposit was never paid."""
    if row.state != "FINALIZED" and (row.state != "CANCELLED" or rule is ClaimRule.POOL):
        return None
    if not row.current_liquidity:
        return _EMPTY
    return _EVERYTHING if rule is ClaimRule.POOL else _of_free(row)


def _of_free(row: MarketRow) -> Withdrawal:
    try:
        free = ReferenceBooks().free(row)
    except FoldError:  # not while the rows are those of the fold
        free = Lamports(0)
    if free > 0:
        return Withdrawal(True, f"Its creator can withdraw {numbers.sol(free)} SOL, which no claim can need.")
    return Withdrawal(False, f"The {numbers.sol(row.current_liquidity)} SOL in the pool are for claims.")
