"""The value of a wallet's positions, and the wallet's gains."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zmart.market.events import SharesBought, SharesSold
from zmart.market.fold_positions import after_buy, after_sell
from zmart.market.fold_state import PositionFold
from zmart.market.types import PRICE_ONE, Lamports, MarketId, PriceE9, Shares, Slot
from zmart.market.valuation import (
    ClaimRule,
    FinalMarket,
    HoldingHistory,
    at_price,
    fixed_payout,
    pool_payout,
)
from zmart.services.gateway.api.valuation import history
from zmart.store.holdings import PaidClaim, TradedBefore
from zmart.store.positions import HeldPosition
from zmart.store.trades import TradeRow

BEGIN = datetime(2026, 1, 15, 12, tzinfo=UTC)
MARKETS = ("aa" * 32, "bb" * 32)


def held(yes: int, no: int, **fields: object) -> HeldPosition:
    values: dict[str, object] = {
        "market_id": MARKETS[0], "wallet": "w" * 32, "shares_yes": yes, "shares_no": no, "first_trade_at": BEGIN,
        "last_trade_at": BEGIN, "updated_slot": 1, "state": "ACTIVE", "price_yes_e9": 600_000_000,
        "final_outcome": None, "question": "", "current_liquidity": 0, "market_shares_yes": 0,
        "market_shares_no": 0, **fields,
    }  # fmt: skip
    return HeldPosition(**values)


@pytest.mark.parametrize(
    ("position", "lamports"),
    [
        (held(10, 5), 8),
        (held(10, 5, state="DISPUTED", final_outcome=True), 8),
        (held(10, 5, state="FINALIZED", final_outcome=True), 10),
        (held(10, 5, state="FINALIZED", final_outcome=False), 5),
        (held(11, 4, state="FINALIZED"), 7),
        (held(10, 5, state="FINALIZED", final_outcome=True, has_claimed=True), 0),
        (held(0, 0), 0),
    ],
    ids=["open", "disputed", "yes won", "no won", "nobody won", "claimed", "empty"],
)
def test_open_shares_count_at_the_last_price_and_settled_ones_at_what_a_claim_pays(
    position: HeldPosition, lamports: int
) -> None:
    assert position.value(ClaimRule.FIXED).current == lamports


@given(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1), st.integers(0, PRICE_ONE))
def test_a_value_is_never_more_than_all_shares_and_exact_for_equal_sides(
    yes: int, no: int, price: int
) -> None:
    assert 0 <= at_price(yes, no, price) <= max(yes, no)
    assert at_price(yes, yes, price) == yes


@given(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1), st.sampled_from([True, False, None]))
def test_a_payout_is_the_value_at_the_settled_price(yes: int, no: int, outcome: bool | None) -> None:
    settled = PRICE_ONE // 2 if outcome is None else PRICE_ONE * outcome
    assert fixed_payout(yes, no, outcome) == at_price(yes, no, settled)


@pytest.mark.parametrize(
    ("outcome", "lamports"), [(True, 1_000 * 10 // 25), (False, 1_000 * 5 // 8), (None, 77)]
)
def test_v069_pays_a_part_of_the_pool_or_what_was_invested(outcome: bool | None, lamports: int) -> None:
    position = held(
        10, 5, state="FINALIZED", final_outcome=outcome, total_invested=77, current_liquidity=1_000,
        market_shares_yes=25, market_shares_no=8,
    )  # fmt: skip
    assert position.value(ClaimRule.of_model("v069")).current == lamports
    assert position.value(ClaimRule.of_model("reference")).current == fixed_payout(10, 5, outcome)


@given(st.lists(st.integers(0, 2**40), min_size=1, max_size=20), st.integers(0, 2**50), st.booleans())
def test_all_claims_on_a_pool_together_pay_no_more_than_it_holds(
    winners: list[int], pool_lamports: int, outcome: bool
) -> None:
    shares = sum(winners)
    market = FinalMarket(outcome, pool_lamports, shares, shares)
    paid = [pool_payout(held, held, 0, market) for held in winners]
    assert sum(paid) <= pool_lamports
    assert pool_payout(1, 1, 0, FinalMarket(outcome, pool_lamports, 0, 0)) == pool_lamports


def test_what_was_made_is_realized_and_unrealized() -> None:
    bought = {"cost_basis_yes": 7, "cost_basis_no": 2, "realized_pnl_lamports": -3}
    value = held(10, 5, **bought).value(ClaimRule.FIXED)
    assert (value.current, value.basis, value.realized, value.unrealized, value.result) == (8, 9, -3, -1, -4)
    claimed = held(10, 5, has_claimed=True, **bought).value(ClaimRule.FIXED)
    assert (claimed.current, claimed.basis, claimed.unrealized, claimed.result) == (0, 0, 0, -3)


def trade(number: int, market: str, side: str, outcome: bool, shares: int, cost: int, price: int) -> TradeRow:
    return TradeRow(
        signature="s", ordinal=number, market_id=market, wallet="w" * 32, side=side, outcome=outcome, shares=shares,
        cost_lamports=cost, protocol_fee_lamports=0, resolver_fee_lamports=0, lp_fee_lamports=0,
        price_yes_after_e9=price, slot=number, index_in_block=0, traded_at=BEGIN + timedelta(seconds=number),
    )  # fmt: skip


@st.composite
def tapes(draw: st.DrawFn) -> list[TradeRow]:
    """Generate the trades of one wallet, which never sells more shares than it holds."""
    owned: dict[tuple[str, bool], int] = {}
    rows = []
    for number in range(draw(st.integers(1, 25))):
        key = draw(st.sampled_from(MARKETS)), draw(st.booleans())
        have = owned.get(key, 0)
        side = "sell" if have and draw(st.booleans()) else "buy"
        shares = draw(st.integers(1, have if side == "sell" else 10**12))
        owned[key] = have + (shares if side == "buy" else -shares)
        price = draw(st.integers(1, PRICE_ONE - 1))
        rows.append(trade(number, key[0], side, key[1], shares, draw(st.integers(0, 10**12)), price))
    return rows


@given(tapes())
def test_every_lamport_paid_is_invested_or_was_realized(tape: list[TradeRow]) -> None:
    points, paid, received = history(tape), 0, 0
    assert [point.timestamp for point in points] == sorted(point.timestamp for point in points)
    for row, point in zip(tape, points, strict=True):
        paid += row.cost_lamports if row.side == "buy" else 0
        received += row.cost_lamports if row.side == "sell" else 0
        assert point.invested + received - point.realized_pnl == paid
        assert point.invested >= 0


@given(tapes())
def test_who_sold_all_has_nothing_invested_and_nothing_of_worth(tape: list[TradeRow]) -> None:
    owned: dict[tuple[str, bool], int] = {}
    for row in tape:
        key = row.market_id, row.outcome
        owned[key] = owned.get(key, 0) + (row.shares if row.side == "buy" else -row.shares)
    rest = [
        trade(100 + number, market, "sell", outcome, shares, 1, 1)
        for number, ((market, outcome), shares) in enumerate(owned.items())
        if shares
    ]
    last = history([*tape, *rest])[-1]
    assert (last.value, last.invested) == (0, 0)


def test_a_sale_realizes_against_the_average_cost() -> None:
    tape = [
        trade(1, MARKETS[0], "buy", True, 10, 1_000, 500_000_000),
        trade(2, MARKETS[0], "buy", True, 30, 5_000, 600_000_000),
        trade(3, MARKETS[0], "sell", True, 20, 4_000, 550_000_000),
    ]
    point = history(tape)[-1]
    assert (point.invested, point.realized_pnl, point.value) == (3_000, 1_000, 11)


def test_the_value_counts_all_markets_at_their_last_prices() -> None:
    tape = [
        trade(1, MARKETS[0], "buy", True, 100, 50, 500_000_000),
        trade(2, MARKETS[1], "buy", False, 100, 30, 800_000_000),
    ]
    assert [point.value for point in history(tape)] == [50, 70]


@given(tapes())
def test_the_history_ends_with_what_the_fold_of_the_same_trades_holds(tape: list[TradeRow]) -> None:
    folded: dict[str, PositionFold] = {}
    for row in tape:
        fields = {
            "market_id": row.market_id, "user": row.wallet, "outcome": row.outcome, "shares": row.shares,
            "new_price_yes": row.price_yes_after_e9, "timestamp": 0,
        }  # fmt: skip
        before = folded.get(row.market_id)
        if row.side == "buy":
            after = after_buy(before, SharesBought(cost=row.cost_lamports, **fields), Slot(row.slot))
        else:
            after = after_sell(before, SharesSold(proceeds=row.cost_lamports, **fields), Slot(row.slot))
        folded[row.market_id] = after
    last = history(tape)[-1]
    assert last.invested == sum(one.cost_basis_yes + one.cost_basis_no for one in folded.values())
    assert last.realized_pnl == sum(one.realized_pnl_lamports for one in folded.values())
    prices = {row.market_id: row.price_yes_after_e9 for row in tape}
    assert last.value == sum(
        at_price(one.shares_yes, one.shares_no, prices[market]) for market, one in folded.items()
    )


def sums_of(tape: list[TradeRow]) -> list[TradedBefore]:
    """Return the sums of each side of a market, in the order of their last trades."""
    sides: dict[tuple[str, bool], list[TradeRow]] = {}
    for row in tape:
        side = sides.pop((row.market_id, row.outcome), [])
        sides[(row.market_id, row.outcome)] = [*side, row]
    return [
        TradedBefore(
            market_id=MarketId(market), outcome=outcome,
            bought=Shares(sum(row.shares for row in rows if row.side == "buy")),
            sold=Shares(sum(row.shares for row in rows if row.side == "sell")),
            paid=Lamports(sum(row.cost_lamports for row in rows if row.side == "buy")),
            received=Lamports(sum(row.cost_lamports for row in rows if row.side == "sell")),
            price_yes_e9=PriceE9(rows[-1].price_yes_after_e9),
        )
        for (market, outcome), rows in sides.items()
    ]  # fmt: skip


@given(tapes(), st.data())
def test_a_history_that_begins_with_sums_has_the_values_and_the_profit_of_the_whole(
    tape: list[TradeRow], data: st.DataObject
) -> None:
    begin = data.draw(st.integers(0, len(tape) - 1))
    whole, part = history(tape)[begin:], history(tape[begin:], sums_of(tape[:begin]))
    assert [point.value for point in part] == [point.value for point in whole]
    profits = [[point.realized_pnl - point.invested for point in points] for points in (part, whole)]
    assert profits[0] == profits[1]


@given(tapes(), st.data())
def test_sums_that_begin_amid_a_holding_leave_nothing_negative(
    tape: list[TradeRow], data: st.DataObject
) -> None:
    first, begin = sorted(data.draw(st.tuples(*[st.integers(0, len(tape) - 1)] * 2)))
    held = HoldingHistory()
    for sums in sums_of(tape[first:begin]):
        held.begin(
            sums.market_id, sums.outcome, bought=sums.bought, sold=sums.sold, paid_lamports=sums.paid,
            received_lamports=sums.received, price_yes_e9=sums.price_yes_e9,
        )  # fmt: skip
    assert held.value >= 0
    assert held.invested >= 0


def test_a_claim_is_realized_and_takes_the_shares_of_its_market() -> None:
    tape = [
        trade(1, MARKETS[0], "buy", True, 1_000, 600, 500_000_000),
        trade(3, MARKETS[1], "buy", True, 1_000, 600, 500_000_000),
    ]
    claim = PaidClaim(market_id=MarketId(MARKETS[0]), claimed_lamports=Lamports(1_000), slot=Slot(2))
    last = history(tape, claims=[claim])[-1]
    assert (last.value, last.invested, last.realized_pnl) == (500, 600, 400)
