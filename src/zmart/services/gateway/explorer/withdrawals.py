"""Tell whether the creator of a market can withdraw from it, for the page of the market and that of the creator."""

from __future__ import annotations

import msgspec

from zmart.market.fold_books import ReferenceBooks
from zmart.market.lifecycle import FoldError
from zmart.market.types import Lamports, Wallet
from zmart.market.valuation import ClaimRule
from zmart.services.gateway.explorer import numbers
from zmart.store import markets
from zmart.store.markets import Filters, MarketRow, Page, Sort
from zmart.store.pool import Pool


class Withdrawal(msgspec.Struct, frozen=True):
    """A withdrawal by a market's creator: the lamports of it that the program would pay from the pool now, 0 if it
    would refuse, and a sentence about it."""

    lamports: Lamports
    note: str

    @property
    def is_possible(self) -> bool:
        """Return whether the program would make the withdrawal now."""
        return self.lamports > 0


_ENDED = ("FINALIZED", "CANCELLED")
_MARKETS = 50
_EMPTY = Withdrawal(Lamports(0), "The pool is empty: its creator has withdrawn.")
_EVERYTHING = "Its creator can withdraw all that the market's account holds, open claims included."


async def waiting(pool: Pool, creator: Wallet, rule: ClaimRule) -> list[tuple[MarketRow, Withdrawal]]:
    """Return the possible withdrawals from a creator's markets: from the newest 50 final ones with a pool that is not
    empty, and as many cancelled ones."""
    rows = [
        row
        for state in _ENDED
        for row in await markets.page(
            pool,
            Filters(creator=creator, state=state, pool_above=Lamports(0)),
            Sort.NEWEST,
            Page(limit=_MARKETS),
        )
    ]
    each = [(row, of_creator(row, rule)) for row in rows]
    return [
        (row, withdrawal) for row, withdrawal in each if withdrawal is not None and withdrawal.is_possible
    ]


def of_creator(row: MarketRow, rule: ClaimRule) -> Withdrawal | None:
    """Return what the creator of a market can withdraw. None while the program pays nothing to a creator: before the
    end, and in v0.69 from a cancelled market, whose deposit was never paid."""
    if row.state != "FINALIZED" and (row.state != "CANCELLED" or rule is ClaimRule.POOL):
        return None
    if not row.current_liquidity:
        return _EMPTY
    return Withdrawal(row.current_liquidity, _EVERYTHING) if rule is ClaimRule.POOL else _of_free(row)


def _of_free(row: MarketRow) -> Withdrawal:
    try:
        free = ReferenceBooks().free(row)
    except FoldError:  # not while the rows are those of the fold
        free = Lamports(0)
    if free > 0:
        return Withdrawal(free, f"Its creator can withdraw {numbers.sol(free)} SOL, which no claim can need.")
    return Withdrawal(
        Lamports(0), f"The {numbers.sol(row.current_liquidity)} SOL in the pool are for claims."
    )
