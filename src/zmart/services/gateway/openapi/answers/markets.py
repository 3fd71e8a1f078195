"""Examples of answers about markets, trades and prices."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from zmart.client.shapes import markets as shapes
from zmart.client.shapes import tape
from zmart.client.shapes.votes import VoteTerms
from zmart.market.types import Bps, Lamports, MarketId, Shares, Slot
from zmart.services.gateway.openapi.answers import scenario

RULES = [
    VoteTerms(kind=kind, rule="open", words="Every wallet may vote.", min_votes=10, fixed=False)
    for kind in ("proposal", "dispute")
]
_MARKET: dict[str, Any] = {
    "id": scenario.MARKET,
    "on_chain_address": scenario.ADDRESS,
    "question": scenario.QUESTION,
    "description": "By the harbour master's log.",
    "category": "weather",
    "tags": ["ice"],
    "text_status": "available",
    "state": "ACTIVE",
    "status": "ACTIVE",
    "creator_wallet": scenario.CREATOR,
    "creator": scenario.CREATOR,
    "b_parameter": scenario.B,
    "liquidity_parameter": scenario.B,
    "initial_liquidity": scenario.DEPOSIT,
    "current_liquidity": Lamports(scenario.DEPOSIT + scenario.COST),
    "shares_yes": scenario.SHARES,
    "shares_no": scenario.NO_SHARES,
    "total_yes_shares": scenario.SHARES,
    "total_no_shares": scenario.NO_SHARES,
    "current_price_yes": scenario.PRICE_YES,
    "current_price_no": scenario.PRICE_NO,
    "total_volume": scenario.PAID,
    "total_trades": 1,
    "traders": 1,
    "created_at": scenario.CREATED,
    "approved_at": scenario.APPROVED,
    "activated_at": scenario.ACTIVATED,
    "resolution_proposed_at": None,
    "finalize_after": None,
    "ends_at": scenario.ENDS,
    "finalized_at": None,
    "cancelled_at": None,
    "proposed_outcome": None,
    "final_outcome": None,
    "outcome": None,
    "was_disputed": False,
}
_NO_DISPUTE = shapes.DisputeWindow(
    opens_at=None, closes_at=None, initiator=None, initiated_at=None, voting_ends_at=None
)
_DETAIL = shapes.MarketDetail(
    **_MARKET,
    resolver=None,
    question_cid=scenario.QUESTION_CID,
    evidence_cid=None,
    ipfs_evidence_hash=None,
    proposal=shapes.VoteTally(
        votes_for=8,
        votes_against=2,
        total=10,
        bps=Bps(8_000),
        threshold_bps=Bps(7_000),
        recorded_at=scenario.APPROVED,
    ),
    dispute=shapes.VoteTally(votes_for=0, votes_against=0, total=0, bps=Bps(0), threshold_bps=Bps(6_000)),
    dispute_window=_NO_DISPUTE,
    accumulated_fees=shapes.Fees(**{name: Lamports(fee) for name, fee in scenario.FEES.items()}),
    claimed_shares=Shares(0),
    pricing_model="reference",
    created_slot=scenario.SLOT,
    updated_slot=scenario.SLOT,
    vote_rules=RULES,
    dispute_review=None,
)
_TRADE = tape.Trade(
    id=f"{scenario.SIGNATURE}:0",
    market_id=scenario.MARKET,
    user=scenario.TRADER,
    user_wallet=scenario.TRADER,
    trade_type="buy",
    outcome="YES",
    outcome_bool=True,
    shares=scenario.SHARES,
    cost=scenario.PAID,
    fees=Lamports(scenario.PAID - scenario.COST),
    price_after=scenario.PRICE_YES,
    tx_signature=scenario.SIGNATURE,
    slot=scenario.SLOT,
    timestamp=scenario.TRADED,
    created_at=scenario.TRADED,
)
_CANDLE = tape.Candle(
    timestamp="2026-01-15T14:00:00.000Z",
    open_price_yes=scenario.PRICE_BEFORE,
    high_price_yes=scenario.PRICE_YES,
    low_price_yes=scenario.PRICE_BEFORE,
    close_price_yes=scenario.PRICE_YES,
    volume=scenario.PAID,
    trades=1,
)
QUOTE = tape.Quote(
    market_id=scenario.MARKET,
    side="buy",
    outcome="YES",
    shares=scenario.SHARES,
    cost=scenario.COST,
    fees=tape.QuotedFees(
        **{name: Lamports(fee) for name, fee in scenario.FEES.items()},
        total=Lamports(sum(scenario.FEES.values())),
    ),
    total=scenario.PAID,
    net=None,
    average_price="0.562224189",
    price_yes=scenario.PRICE_BEFORE,
    price_yes_after=scenario.PRICE_YES,
    price_impact_percent=4.4437,
    max_cost=Lamports(1_000_000_000),
    min_shares=Shares(1_760_863_401),
    min_proceeds=None,
    slippage_bps=100,
    max_loss=Lamports(13_862_943_612),
    pricing_model="reference",
)
_ACTIVITY = tape.Activity(
    id=_TRADE.id,
    type="trade",
    user="7EqQ...wJeK",
    wallet=scenario.TRADER,
    action="buy YES",
    market=scenario.QUESTION,
    market_id=scenario.MARKET,
    time=scenario.TRADED,
    amount="0.999999999 SOL",
    amount_lamports=scenario.PAID,
)
_CANDLES = tape.Candles(
    market_id=scenario.MARKET, interval="1h", start=_CANDLE.timestamp, end="2026-01-15T15:00:00.000Z",
    candles=[_CANDLE], count=1,
)  # fmt: skip
_STATS = tape.TapeStats(
    total_volume=scenario.PAID,
    total_trades=1,
    unique_traders=1,
    buy_volume=scenario.PAID,
    sell_volume=Lamports(0),
)

_OTHER = MarketId("1c0d" + scenario.MARKET[4:])
_PRICE = float(scenario.PRICE_YES)
_TREND = shapes.TrendingMarket(
    id=scenario.MARKET,
    question=scenario.QUESTION,
    yes_price=_PRICE,
    change24h=2.2218,
    volume24h=0.999999999,
    unique_traders=1,
    trending_score=0.999999999,
)
_CATEGORY = shapes.Category(id="weather", name="Weather", count=1, emoji="🌦", trend="+100%")
_RELATED = shapes.RelatedMarket(
    id=_OTHER, question="Will it snow in March?", yes_price=0.5, category="weather", category_match=True
)
_CREATION = shapes.TimelineEntry(
    event="MarketCreated",
    state="PROPOSED",
    timestamp=scenario.CREATED,
    actor=scenario.CREATOR,
    slot=Slot(scenario.SLOT - 350),
    signature=scenario.SIGNATURE,
    details={
        "creator": scenario.CREATOR,
        "b_parameter": scenario.B,
        "state": 0,
        "initial_liquidity": scenario.DEPOSIT,
        "ipfs_question_hash": scenario.QUESTION_CID,
    },
)
_POINT = tape.PricePoint(timestamp=scenario.TRADED, yes=52.2218, no=47.7782)

ANSWERS: list[Struct] = [
    shapes.Markets(markets=[shapes.Market(**_MARKET)], count=1, offset=0, limit=20),
    _DETAIL,
    tape.MarketTrades(trades=[_TRADE], count=1, market_id=scenario.MARKET),
    tape.WalletTrades(trades=[_TRADE], count=1, wallet=scenario.TRADER),
    tape.MarketStats(market_id=scenario.MARKET, stats=_STATS),
    _CANDLES,
    QUOTE,
    tape.Activities(activities=[_ACTIVITY], count=1),
    tape.PriceHistory(market_id=scenario.MARKET, price_history=[_POINT], count=1),
    shapes.TrendingMarkets(trending=[_TREND], count=1),
    shapes.Categories(categories=[_CATEGORY], count=1),
    shapes.RelatedMarkets(related=[_RELATED], count=1),
    shapes.SearchResult(markets=[shapes.FoundMarket(**_MARKET, rank=0.6079)], count=1, q="harbour"),
    shapes.Timeline(market_id=scenario.MARKET, timeline=[_CREATION], count=1),
    shapes.DisputeReview(
        waits=False,
        reasons=["The result is close: 6100 bps agree, the threshold is 6000 bps."],
        raised_at=scenario.ENDS,
        released_at="2026-02-28T18:30:00.000Z",
    ),
]
