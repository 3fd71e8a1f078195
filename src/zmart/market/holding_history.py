"""Follow the value, the cost and the realized profit of a wallet's holdings, event by event, in lamports."""

from __future__ import annotations

from collections import defaultdict

from zmart.market.types import Lamports, MarketId
from zmart.market.valuation import at_price, basis_of_sold


class _Holding:
    """Hold a wallet's shares and cost bases in one market. The lists are indexed by outcome: NO, YES.

    `payout` is what a claim pays, None before the market is final. `counted` is the value in the history's total.
    """

    def __init__(self) -> None:
        self.shares = [0, 0]
        self.basis = [0, 0]
        self.price_yes_e9 = 0
        self.payout: Lamports | None = None
        self.counted = Lamports(0)

    def value(self) -> Lamports:
        no, yes = self.shares
        return at_price(yes, no, self.price_yes_e9) if self.payout is None else self.payout


class HoldingHistory:
    """Follow a wallet's holdings in all markets, each valued at the last price given or, once final, at its payout.

    `value` is the value of all holdings and `invested` their cost. `realized` is the profit of all sales and claims so
    far, less the cost of shares that a final market pays nothing for. All are lamports.
    """

    def __init__(self) -> None:
        self._held: defaultdict[MarketId, _Holding] = defaultdict(_Holding)
        self.value = Lamports(0)
        self.invested = Lamports(0)
        self.realized = Lamports(0)

    def begin(
        self,
        market_id: MarketId,
        outcome: bool,
        *,
        bought: int,
        sold: int,
        paid_lamports: int,
        received_lamports: int,
        price_yes_e9: int,
    ) -> None:
        """Begin with sums of earlier trades of one side; `price_yes_e9` is the market's price after them.

        The shares that are left cost the average of all these purchases, since sums do not tell the order of trades.
        Sums that begin amid a holding may have more sales than purchases: then none are left.
        """
        left = max(bought - sold, 0)
        holding = self._held[market_id]
        holding.price_yes_e9 = price_yes_e9
        holding.shares[outcome] = left
        self._move_basis(holding, outcome, basis_of_sold(paid_lamports, left, bought))
        self._realize(received_lamports - paid_lamports + holding.basis[outcome])
        self._count(holding)

    def buy(
        self, market_id: MarketId, outcome: bool, shares: int, cost_lamports: int, price_yes_e9: int
    ) -> None:
        """Add shares with their cost; `price_yes_e9` is the market's price after the trade."""
        holding = self._held[market_id]
        holding.price_yes_e9 = price_yes_e9
        holding.shares[outcome] += shares
        self._move_basis(holding, outcome, cost_lamports)
        self._count(holding)

    def sell(
        self, market_id: MarketId, outcome: bool, shares: int, proceeds_lamports: int, price_yes_e9: int
    ) -> None:
        """Remove shares, and realize the proceeds less the average cost of the shares that were sold.

        `price_yes_e9` is the market's price after the trade.
        """
        holding = self._held[market_id]
        holding.price_yes_e9 = price_yes_e9
        sold = basis_of_sold(holding.basis[outcome], shares, holding.shares[outcome])
        holding.shares[outcome] -= shares
        self._move_basis(holding, outcome, -sold)
        self._realize(proceeds_lamports - sold)
        self._count(holding)

    def price(self, market_id: MarketId, price_yes_e9: int) -> None:
        """Value the holding of a market at another price, which a trade of another wallet may have made."""
        if market_id in self._held:
            self._held[market_id].price_yes_e9 = price_yes_e9
            self._count(self._held[market_id])

    def finalize(self, market_id: MarketId, payout_lamports: int) -> None:
        """Value the holding of a market that became final at what its claim pays. If that is nothing, its cost is a
        realized loss."""
        if not payout_lamports:
            self.claim(market_id, 0)
            return
        holding = self._held[market_id]
        holding.payout = Lamports(payout_lamports)
        self._count(holding)

    def claim(self, market_id: MarketId, payout_lamports: int) -> None:
        """Remove all shares of a market, and realize what their claim paid less their cost."""
        holding = self._held.pop(market_id, _Holding())
        cost = sum(holding.basis)
        self.value = Lamports(self.value - holding.counted)
        self.invested = Lamports(self.invested - cost)
        self._realize(payout_lamports - cost)

    def _move_basis(self, holding: _Holding, outcome: bool, lamports: int) -> None:
        holding.basis[outcome] += lamports
        self.invested = Lamports(self.invested + lamports)

    def _realize(self, lamports: int) -> None:
        self.realized = Lamports(self.realized + lamports)

    def _count(self, holding: _Holding) -> None:
        value = holding.value()
        self.value = Lamports(self.value + value - holding.counted)
        holding.counted = value
