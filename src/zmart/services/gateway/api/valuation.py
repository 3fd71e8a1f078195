"""What positions are worth, now and over time."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime

import msgspec

from zmart.client.shapes.people import Portfolio, PortfolioPosition, ValuePoint
from zmart.market.times import iso
from zmart.market.types import PRICE_ONE, Lamports, MarketId, Wallet
from zmart.services.gateway.api.formatting import ratio_text
from zmart.store import positions, trades
from zmart.store.pool import Pool
from zmart.store.positions import Held
from zmart.store.trades import TradeRow

_MAX_POSITIONS = 500
_MAX_TRADES = 2000


def value_of(row: Held) -> Lamports:
    """Open shares at the last price, settled ones at what a claim pays; 0 once it was claimed."""
    if row.has_claimed:
        return Lamports(0)
    yes_e9: int = row.price_yes_e9
    if row.state == "FINALIZED":
        yes_e9 = _settled_price(row.final_outcome)
    return Lamports((row.shares_yes * yes_e9 + row.shares_no * (PRICE_ONE - yes_e9)) // PRICE_ONE)


def _settled_price(outcome: bool | None) -> int:
    return PRICE_ONE // 2 if outcome is None else PRICE_ONE * outcome


async def portfolio(pool: Pool, wallet: Wallet) -> Portfolio:
    """All positions of a wallet and the value of its holdings after each of its trades."""
    held = await positions.of_wallet(pool, wallet, _MAX_POSITIONS)
    tape = await trades.of_wallet(pool, wallet, _MAX_TRADES)
    shown = [_position(row) for row in held]
    opened = [item for row, item in zip(held, shown, strict=True) if _is_open(row)]
    closed = [item for row, item in zip(held, shown, strict=True) if not _is_open(row)]
    return Portfolio(
        wallet=wallet,
        value=_sum(item.current_value for item in shown),
        cost_basis=_sum(item.cost_basis for item in shown),
        realized_pnl=_sum(item.realized_pnl for item in shown),
        unrealized_pnl=_sum(item.unrealized_pnl for item in shown),
        open_positions=opened,
        closed_positions=closed,
        history=history(tape[::-1]),
    )


def _position(row: Held) -> PortfolioPosition:
    value = value_of(row)
    basis = Lamports(0 if row.has_claimed else row.cost_basis_yes + row.cost_basis_no)
    return PortfolioPosition(
        market_id=row.market_id,
        question=row.question,
        state=row.state,
        shares_yes=row.shares_yes,
        shares_no=row.shares_no,
        average_cost_yes=ratio_text(row.cost_basis_yes, row.shares_yes),
        average_cost_no=ratio_text(row.cost_basis_no, row.shares_no),
        cost_basis=basis,
        current_value=value,
        realized_pnl=row.realized_pnl_lamports,
        unrealized_pnl=Lamports(value - basis),
        has_claimed=row.has_claimed,
        claimed=row.claimed_lamports,
    )


def _is_open(row: Held) -> bool:
    return not row.has_claimed and (row.shares_yes > 0 or row.shares_no > 0)


def _sum(amounts: Iterable[Lamports]) -> Lamports:
    return Lamports(sum(amounts))


class _HoldingOverTime(msgspec.Struct):
    shares: list[int]
    basis: list[int]
    price_yes_e9: int = 0

    def value(self) -> int:
        no, yes = self.shares
        return (yes * self.price_yes_e9 + no * (PRICE_ONE - self.price_yes_e9)) // PRICE_ONE


def history(tape: Sequence[TradeRow]) -> list[ValuePoint]:
    """The value of what a wallet held after each of its trades (oldest first), at the prices of its own tape."""
    held: dict[MarketId, _HoldingOverTime] = defaultdict(lambda: _HoldingOverTime([0, 0], [0, 0]))
    realized = 0
    found: list[ValuePoint] = []
    for row in tape:
        realized += _apply(held[row.market_id], row)
        found.append(_point(row.traded_at, held.values(), realized))
    return found


def _apply(holding: _HoldingOverTime, row: TradeRow) -> int:
    """Takes the trade into the holding at average cost; what a sale made."""
    side = int(row.outcome)
    holding.price_yes_e9 = row.price_yes_after_e9
    if row.side == "buy":
        holding.shares[side] += row.shares
        holding.basis[side] += row.cost_lamports
        return 0
    before = holding.shares[side]
    share = holding.basis[side] * row.shares // before if before else 0
    holding.shares[side] = before - row.shares
    holding.basis[side] -= share
    return row.cost_lamports - share


def _point(moment: datetime, held: Iterable[_HoldingOverTime], realized: int) -> ValuePoint:
    holdings = list(held)
    return ValuePoint(
        timestamp=iso(moment),
        value=Lamports(sum(item.value() for item in holdings)),
        invested=Lamports(sum(sum(item.basis) for item in holdings)),
        realized_pnl=Lamports(realized),
    )
