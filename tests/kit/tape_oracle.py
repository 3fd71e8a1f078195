"""Statistics that the API computes from the trades, computed again in the simplest way: trade by trade, in integers."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import datetime, timedelta

ONE = 10**9
DAY = timedelta(days=1)


@dataclass(frozen=True)
class Trade:
    """One trade as the API lists it; `cost` is lamports paid with fees (buy), or received after fees (sell)."""

    market: str
    wallet: str
    side: str
    outcome: bool
    shares: int
    cost: int
    fees: int
    price_e9: int
    at: datetime


def read(row: dict) -> Trade:
    return Trade(
        row["market_id"], row["user"], row["trade_type"], row["outcome_bool"], row["shares"], row["cost"], row["fees"],
        int(row["price_after"].replace(".", "")), datetime.fromisoformat(row["timestamp"]),
    )  # fmt: skip


@dataclass
class Holding:
    """One wallet's holding on one market, valued at average cost: shares and cost basis by outcome, in lamports."""

    shares: dict[bool, int] = field(default_factory=lambda: {True: 0, False: 0})
    basis: dict[bool, int] = field(default_factory=lambda: {True: 0, False: 0})
    received: int = 0
    paid: int = 0
    claimed: int | None = None
    last_at: datetime | None = None
    trades: int = 0

    def take(self, trade: Trade) -> None:
        self.last_at, self.trades = trade.at, self.trades + 1
        side = trade.outcome
        if trade.side == "buy":
            self.shares[side] += trade.shares
            self.basis[side] += trade.cost
            self.paid += trade.cost
            return
        self.received += trade.cost
        sold = self.basis[side] * trade.shares // self.shares[side]
        self.shares[side] -= trade.shares
        self.basis[side] -= sold

    def claim(self, amount: int) -> None:
        self.claimed = amount

    def worth(self, market: dict) -> int:
        """Return what the shares are worth: at the market's price, or in a final market what a claim pays."""
        if self.claimed is not None:
            return 0
        yes = int(market["current_price_yes"].replace(".", ""))
        if market["state"] == "FINALIZED":
            yes = {True: ONE, False: 0, None: ONE // 2}[market["final_outcome"]]
        return (self.shares[True] * yes + self.shares[False] * (ONE - yes)) // ONE

    def cost(self, market: dict) -> int:
        """Return what was paid: for the shares held, or in a final market for all that were bought."""
        return self.paid if market["state"] == "FINALIZED" else sum(self.basis.values())

    def profit(self, market: dict) -> int:
        """Return all that came in and what the shares are worth, less all that was paid."""
        return self.received + (self.claimed or 0) + self.worth(market) - self.paid

    def unrealized(self, market: dict) -> int:
        """Return what a sale or a claim would make now; a final market that pays nothing leaves nothing to make."""
        is_final = market["state"] == "FINALIZED"
        return 0 if is_final and not self.worth(market) else self.worth(market) - sum(self.basis.values())

    def gained(self, market: dict) -> int:
        """Return the profit that is realized."""
        return self.profit(market) - self.unrealized(market)

    def is_open(self, market: dict) -> bool:
        return market["state"] != "FINALIZED" and any(self.shares.values())

    def roi(self, market: dict) -> float:
        """Return the profit in percent of the cost: in a final market all of it, otherwise the unrealized part."""
        made = self.profit(market) if market["state"] == "FINALIZED" else self.unrealized(market)
        return round(100 * made / self.cost(market), 2) if self.cost(market) else 0.0


class Oracle:
    """Computes the statistics that the API should give.

    `markets` are the API's markets by id, `trades` all trades in chain order, `claims` the paid lamports by (market,
    wallet) with their times.
    """

    def __init__(
        self,
        markets: dict[str, dict],
        trades: list[Trade],
        claims: dict[tuple[str, str], tuple[int, datetime]],
    ) -> None:
        self.markets, self.trades, self.claims = markets, trades, claims
        self.held: dict[tuple[str, str], Holding] = defaultdict(Holding)
        for trade in trades:
            self.held[trade.market, trade.wallet].take(trade)
        for position, (amount, _) in claims.items():
            self.held[position].claim(amount)

    def of_market(self, market: str) -> list[Trade]:
        return [trade for trade in self.trades if trade.market == market]

    def of_wallet(self, wallet: str) -> dict[str, Holding]:
        return {market: held for (market, who), held in self.held.items() if who == wallet}

    def market_stats(self, market: str) -> dict[str, int]:
        tape = self.of_market(market)
        return {
            "total_volume": sum(t.cost for t in tape),
            "total_trades": len(tape),
            "unique_traders": len({t.wallet for t in tape}),
            "buy_volume": sum(t.cost for t in tape if t.side == "buy"),
            "sell_volume": sum(t.cost for t in tape if t.side == "sell"),
        }

    def volume_on_chain(self, market: str) -> int:
        """Return the market's volume in lamports as the program counts it: sales before their fees."""
        return sum(t.cost + (t.fees if t.side == "sell" else 0) for t in self.of_market(market))

    def candle(self, market: str, start: datetime, step: timedelta) -> tuple[list[int], int, int]:
        """Return the candle from `start` on: [open, high, low, close], the volume and the number of trades."""
        inside = [t for t in self.of_market(market) if start <= t.at < start + step]
        before = [t for t in self.of_market(market) if t.at < start]
        last = before[-1].price_e9 if before else ONE // 2
        prices = [t.price_e9 for t in inside] or [last]
        return [prices[0], max(prices), min(prices), prices[-1]], sum(t.cost for t in inside), len(inside)

    def trending(self, now: datetime) -> list[tuple[str, float, float, int]]:
        """Return the markets that traded within a day, with the largest product of volume and traders first.

        Each has its id, the change of its price in percentage points, its volume in SOL and its number of traders.
        """
        result = []
        for market, row in self.markets.items():
            recent = [t for t in self.of_market(market) if t.at > now - DAY]
            older = [t for t in self.of_market(market) if t.at <= now - DAY]
            if recent:
                before = older[-1].price_e9 if older else ONE // 2
                change = (int(row["current_price_yes"].replace(".", "")) - before) / 10**7
                volume, traders = sum(t.cost for t in recent), len({t.wallet for t in recent})
                result.append((volume * traders, market, round(change, 4), volume / ONE, traders))
        result.sort(key=lambda item: (-item[0], item[1]))
        return [tuple(item[1:]) for item in result]

    def user_stats(self, wallet: str) -> dict[str, int | float]:
        mine = [t for t in self.trades if t.wallet == wallet]
        held = self.of_wallet(wallet)
        settled = {m: h for m, h in held.items() if self.markets[m]["state"] == "FINALIZED"}
        won = [m for m, h in settled.items() if h.profit(self.markets[m]) > 0]
        realized = sum(h.gained(self.markets[m]) for m, h in held.items())
        unrealized = sum(h.unrealized(self.markets[m]) for m, h in held.items())
        return {
            "total_trades": len(mine),
            "total_volume": sum(t.cost for t in mine),
            "realized_pnl": realized,
            "unrealized_pnl": unrealized,
            "total_pnl": realized + unrealized,
            "active_positions": sum(h.is_open(self.markets[m]) for m, h in held.items()),
            "settled_positions": len(settled),
            "won_positions": len(won),
            "win_rate": round(100 * len(won) / len(settled), 2) if settled else 0.0,
        }

    def leaders(self, by: str, window: timedelta, now: datetime) -> list[tuple[str, int, int]]:
        """Return (wallet, PnL, volume) of each wallet that traded within the window, the largest `by` first.

        The PnL is that of all positions in which the wallet traded within the window.
        """
        result = []
        for wallet in {t.wallet for t in self.trades if t.at > now - window}:
            volume = sum(t.cost for t in self.trades if t.wallet == wallet and t.at > now - window)
            touched = {
                m: h for m, h in self.of_wallet(wallet).items() if h.last_at and h.last_at > now - window
            }
            pnl = sum(h.profit(self.markets[m]) for m, h in touched.items())
            result.append((wallet, pnl, volume))
        position = 1 if by == "pnl" else 2
        return sorted(result, key=lambda item: (-item[position], item[0]))

    def value_at(self, wallet: str, at: datetime) -> tuple[int, int, int]:
        """Return the value, the cost and the realized profit of a wallet's shares at a time, in lamports."""
        values = [self._value_at(market, wallet, at) for market in self.of_wallet(wallet)]
        return tuple(sum(each) for each in zip(*values, strict=True))

    def _value_at(self, market: str, wallet: str, at: datetime) -> tuple[int, int, int]:
        row, held = self.markets[market], Holding()
        until = [trade for trade in self.of_market(market) if trade.at <= at]
        for trade in until:
            if trade.wallet == wallet:
                held.take(trade)
        amount, claimed_at = self.claims.get((market, wallet), (0, None))
        if claimed_at and claimed_at <= at:
            held.claim(amount)
        is_final = row["finalized_at"] and datetime.fromisoformat(row["finalized_at"]) <= at
        price = until[-1].price_e9 if until else ONE // 2
        then = {
            **row,
            "state": "FINALIZED" if is_final else "ACTIVE",
            "current_price_yes": f"{price / ONE:.9f}",
        }
        value = held.worth(then)
        return value, value - held.unrealized(then), held.gained(then)

    def changes_of(self, wallet: str) -> set[datetime]:
        """Return the times of the wallet's trades and claims, and of the ends of its markets."""
        ends = [self.markets[market]["finalized_at"] for market in self.of_wallet(wallet)]
        claims = [at for (_, who), (_, at) in self.claims.items() if who == wallet]
        own = [trade.at for trade in self.trades if trade.wallet == wallet]
        return {*own, *claims, *(datetime.fromisoformat(end) for end in ends if end)}
