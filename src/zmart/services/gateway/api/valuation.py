"""Compute a wallet's portfolio: its positions and their value over time."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence

from zmart.client.shapes.people import Portfolio, PortfolioPosition, ValuePoint
from zmart.market.amounts import ratio_text
from zmart.market.times import iso
from zmart.market.types import Lamports, Shares, Wallet
from zmart.market.valuation import ClaimRule, HoldingHistory
from zmart.store import holdings, positions, trades
from zmart.store.holdings import PaidClaim, TradedBefore
from zmart.store.markets import MarketRow
from zmart.store.pool import Pool
from zmart.store.positions import HeldPosition
from zmart.store.trades import TradeRow

_MAX_POSITIONS = 500
_MAX_TRADES = 2000


async def portfolio(pool: Pool, wallet: Wallet, rule: ClaimRule) -> Portfolio:
    """Return the 500 positions of a wallet that were traded last, their totals in lamports, and the value of the
    wallet's holdings after each of its newest 2,000 trades."""
    held = await positions.of_wallet(pool, wallet, _MAX_POSITIONS)
    items = [position(row, rule) for row in held]
    opened = [item for row, item in zip(held, items, strict=True) if row.is_open]
    closed = [item for row, item in zip(held, items, strict=True) if not row.is_open]
    return Portfolio(
        wallet=wallet,
        value=_sum(item.current_value for item in items),
        cost_basis=_sum(item.cost_basis for item in items),
        realized_pnl=_sum(item.realized_pnl for item in items),
        unrealized_pnl=_sum(item.unrealized_pnl for item in items),
        open_positions=opened,
        closed_positions=closed,
        history=await newest_history(pool, wallet, _MAX_TRADES),
    )


def position(row: HeldPosition, rule: ClaimRule) -> PortfolioPosition:
    """Return a position in a portfolio with its cost, value and profit, in lamports."""
    value = row.value(rule)
    return PortfolioPosition(
        market_id=row.market_id,
        question=row.question,
        state=row.state,
        shares_yes=row.shares_yes,
        shares_no=row.shares_no,
        average_cost_yes=ratio_text(row.cost_basis_yes, row.shares_yes),
        average_cost_no=ratio_text(row.cost_basis_no, row.shares_no),
        cost_basis=value.basis,
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


def _sum(amounts: Iterable[Lamports]) -> Lamports:
    return Lamports(sum(amounts))


async def newest_history(pool: Pool, wallet: Wallet, limit: int) -> list[ValuePoint]:
    """Return the value of the wallet's holdings after each of its newest `limit` trades, oldest first. Shares that were
    bought before these trades count at the average cost of the earlier purchases."""
    tape = await trades.of_wallet(pool, wallet, limit)
    earlier = await holdings.before(pool, wallet, tape[-1].position) if len(tape) == limit else []
    return history(tape[::-1], earlier, await holdings.claims(pool, wallet))


def history(
    tape: Sequence[TradeRow], earlier: Sequence[TradedBefore] = (), claims: Sequence[PaidClaim] = ()
) -> list[ValuePoint]:
    """Return the value of a wallet's holdings after each trade of `tape` (oldest first), at the prices of these
    trades. `earlier` are the sums of the trades before them, `claims` all claims of the wallet, the oldest first."""
    held = HoldingHistory()
    for sums in earlier:
        held.begin(
            sums.market_id,
            sums.outcome,
            bought=sums.bought,
            sold=sums.sold,
            paid_lamports=sums.paid,
            received_lamports=sums.received,
            price_yes_e9=sums.price_yes_e9,
        )
    points: list[ValuePoint] = []
    open_claims = deque(claims)
    for row in tape:
        while open_claims and open_claims[0].slot < row.slot:
            claim = open_claims.popleft()
            held.claim(claim.market_id, claim.claimed_lamports)
        apply = held.buy if row.side == "buy" else held.sell
        apply(row.market_id, row.outcome, row.shares, row.cost_lamports, row.price_yes_after_e9)
        points.append(
            ValuePoint(
                timestamp=iso(row.traded_at),
                value=held.value,
                invested=held.invested,
                realized_pnl=held.realized,
            )
        )
    return points
