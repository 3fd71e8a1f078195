"""Fold positions, with profit and loss by average cost in integers.

A sale takes its part of the cost basis, rounded down.
"""

from __future__ import annotations

from msgspec.structs import replace

from zmart.market.events import SharesBought, SharesSold, WinningsClaimed
from zmart.market.fold_state import PositionFold
from zmart.market.lifecycle import FoldError
from zmart.market.types import Slot
from zmart.market.valuation import basis_of_sold


def after_buy(position: PositionFold | None, event: SharesBought, slot: Slot) -> PositionFold:
    """Return the position after a purchase; a wallet's first purchase in the market creates it."""
    before = position or PositionFold(
        market_id=event.market_id,
        wallet=event.user,
        first_trade_at=event.timestamp,
        last_trade_at=event.timestamp,
        updated_slot=slot,
    )
    if event.outcome:
        side = {
            "shares_yes": before.shares_yes + event.shares,
            "cost_basis_yes": before.cost_basis_yes + event.cost,
        }
    else:
        side = {
            "shares_no": before.shares_no + event.shares,
            "cost_basis_no": before.cost_basis_no + event.cost,
        }
    return replace(
        before,
        **side,
        total_invested=before.total_invested + event.cost,
        trades_count=before.trades_count + 1,
        last_trade_at=event.timestamp,
        updated_slot=slot,
    )


def after_sell(position: PositionFold | None, event: SharesSold, slot: Slot) -> PositionFold:
    """Return the position after a sale. Raises FoldError if the wallet holds fewer shares."""
    held = position.shares(event.outcome) if position else 0
    if position is None or event.shares > held:
        raise FoldError(f"{event.user} sells {event.shares} shares and holds {held}")
    basis = position.cost_basis_yes if event.outcome else position.cost_basis_no
    sold_basis = basis_of_sold(basis, event.shares, held)
    remaining = {"shares": held - event.shares, "cost_basis": basis - sold_basis}
    suffix = "_yes" if event.outcome else "_no"
    return replace(
        position,
        **{name + suffix: value for name, value in remaining.items()},
        trades_count=position.trades_count + 1,
        realized_pnl_lamports=position.realized_pnl_lamports + event.proceeds - sold_basis,
        last_trade_at=event.timestamp,
        updated_slot=slot,
    )


def after_claim(position: PositionFold | None, event: WinningsClaimed, slot: Slot) -> PositionFold:
    """Return the position after a claim. Raises FoldError if the wallet has no position or has claimed before."""
    if position is None or position.has_claimed:
        raise FoldError(f"{event.user} claims {'twice' if position else 'without a position'}")
    basis = position.cost_basis_yes + position.cost_basis_no
    return replace(
        position,
        has_claimed=True,
        claimed_lamports=event.amount,
        cost_basis_yes=0,
        cost_basis_no=0,
        realized_pnl_lamports=position.realized_pnl_lamports + event.amount - basis,
        updated_slot=slot,
    )
