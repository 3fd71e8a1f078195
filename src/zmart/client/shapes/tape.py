"""Define the shapes of trades, of statistics and prices that are computed from trades, and of quotes."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from zmart.market.types import Lamports, MarketId, Shares, Signature, Slot, Wallet


class Trade(Struct, frozen=True, kw_only=True):
    """A trade. `cost` is what the buyer paid, fees included, or what the seller received, fees deducted."""

    id: str
    market_id: MarketId
    user: Wallet
    user_wallet: Wallet
    trade_type: str
    outcome: str
    outcome_bool: bool
    shares: Shares
    cost: Lamports
    fees: Lamports
    price_after: str
    tx_signature: Signature
    slot: Slot
    timestamp: str
    created_at: str


class MarketTrades(Struct, frozen=True, kw_only=True):
    """The newest trades, oldest first; `next_cursor` leads to older ones."""

    trades: Sequence[Trade]
    count: int
    market_id: MarketId
    next_cursor: str | None = None


class WalletTrades(Struct, frozen=True, kw_only=True):
    """A wallet's trades, newest first."""

    trades: Sequence[Trade]
    count: int
    wallet: Wallet
    next_cursor: str | None = None


class TapeStats(Struct, frozen=True, kw_only=True):
    """Volumes in lamports, and the numbers of trades and traders."""

    total_volume: Lamports
    total_trades: int
    unique_traders: int
    buy_volume: Lamports
    sell_volume: Lamports


class MarketStats(Struct, frozen=True, kw_only=True):
    """Volumes and numbers of a market's trades."""

    market_id: MarketId
    stats: TapeStats


class PricePoint(Struct, frozen=True, kw_only=True):
    """The prices of YES and NO at one time, in percent."""

    timestamp: str
    yes: float
    no: float


class PriceHistory(Struct, frozen=True, kw_only=True):
    """The prices of a market over time."""

    market_id: MarketId
    price_history: Sequence[PricePoint]
    count: int


class Candle(Struct, frozen=True, kw_only=True):
    """The YES prices of one interval. Without trades all four are the closing price before it, and the volume is 0."""

    timestamp: str
    open_price_yes: str
    high_price_yes: str
    low_price_yes: str
    close_price_yes: str
    volume: Lamports
    trades: int


class Candles(Struct, frozen=True, kw_only=True):
    """The candles of a market, oldest first."""

    market_id: MarketId
    interval: str
    start: str
    end: str
    candles: Sequence[Candle]
    count: int


class QuotedFees(Struct, frozen=True, kw_only=True):
    """The fees of a quote, in lamports."""

    protocol: Lamports
    resolver: Lamports
    liquidity_provider: Lamports
    total: Lamports


class Quote(Struct, frozen=True, kw_only=True):
    """A trade as the configured program would execute it now.

    `cost` is before fees; `total` is what the buyer pays, or the seller receives (then also called `net`). `max_cost`
    and `min_shares` (buy) or `min_proceeds` (sell) are the bounds that are signed; `min_shares` is null if the
    deployed program cannot enforce it (v0.69). `max_loss` is what the market maker can lose at most (b ln 2).
    """

    market_id: MarketId
    side: str
    outcome: str
    shares: Shares
    cost: Lamports
    fees: QuotedFees
    total: Lamports
    net: Lamports | None
    average_price: str
    price_yes: str
    price_yes_after: str
    price_impact_percent: float
    max_cost: Lamports | None
    min_shares: Shares | None
    min_proceeds: Lamports | None
    slippage_bps: int
    max_loss: Lamports
    pricing_model: str


class Activity(Struct, frozen=True, kw_only=True, rename="camel"):
    """A recent trade, vote or discussion, or a market's creation or resolution, as existing clients show it: `user` is
    a shortened `wallet`, `amount` has its unit."""

    id: str
    type: str
    user: str
    wallet: Wallet
    action: str
    market: str
    market_id: MarketId
    time: str
    amount: str | None = None
    amount_lamports: Lamports | None = None


class Activities(Struct, frozen=True, kw_only=True):
    """Recent activity, newest first."""

    activities: Sequence[Activity]
    count: int
