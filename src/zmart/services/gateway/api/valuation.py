"""Compute a wallet's portfolio: its positions and their value over time."""

from __future__ import annotations

from zmart.client.shapes.people import Portfolio, PortfolioPosition
from zmart.market.amounts import ratio_text
from zmart.market.types import Lamports, Shares, Wallet
from zmart.market.valuation import ClaimRule
from zmart.services.gateway.api import value_history
from zmart.store import positions, users
from zmart.store.markets import MarketRow
from zmart.store.pool import Pool
from zmart.store.positions import HeldPosition

_MAX_POSITIONS = 500
_MAX_CLAIMS = 500
_MAX_TRADES = 2000


async def portfolio(pool: Pool, wallet: Wallet, rule: ClaimRule) -> Portfolio:
    """Return the 500 positions of a wallet that were traded last, the 500 largest claims that wait, the totals of all
    its positions in lamports, and the value of its holdings over time."""
    held = await positions.of_wallet(pool, wallet, _MAX_POSITIONS)
    if len(held) == _MAX_POSITIONS:
        listed = {row.market_id for row in held}
        claims = await positions.claimable(pool, wallet, rule, _MAX_CLAIMS)
        held += [row for row in claims if row.market_id not in listed]
    results = await users.results(pool, wallet, rule)
    return Portfolio(
        wallet=wallet,
        value=results.current_value,
        cost_basis=results.cost_basis,
        realized_pnl=results.realized,
        unrealized_pnl=results.unrealized,
        open_positions=[position(row, rule) for row in held if row.is_open],
        closed_positions=[position(row, rule) for row in held if not row.is_open],
        history=await value_history.of_wallet(pool, wallet, _MAX_TRADES, rule, results),
    )


def position(row: HeldPosition, rule: ClaimRule) -> PortfolioPosition:
    """Return a position in a portfolio with its cost, value and profit, in lamports. In a final market the cost is all
    that was paid, also after the claim."""
    value = row.value(rule)
    return PortfolioPosition(
        market_id=row.market_id,
        question=row.question,
        state=row.state,
        shares_yes=row.shares_yes,
        shares_no=row.shares_no,
        average_cost_yes=ratio_text(row.cost_basis_yes, row.shares_yes),
        average_cost_no=ratio_text(row.cost_basis_no, row.shares_no),
        cost_basis=value.cost,
        current_value=value.current,
        realized_pnl=value.realized,
        unrealized_pnl=value.unrealized,
        has_claimed=row.has_claimed,
        claimed=row.claimed_lamports,
    )


def no_position(market: MarketRow) -> PortfolioPosition:
    """Return the position, all zeros, of a wallet that never traded in the market."""
    none = Lamports(0)
    return PortfolioPosition(
        market_id=market.market_id,
        question=market.question,
        state=market.state,
        shares_yes=Shares(0),
        shares_no=Shares(0),
        average_cost_yes=ratio_text(0, 0),
        average_cost_no=ratio_text(0, 0),
        cost_basis=none,
        current_value=none,
        realized_pnl=none,
        unrealized_pnl=none,
        has_claimed=False,
        claimed=none,
    )
