"""The value of a wallet's positions, and the wallet's gains."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zmart.market.events import SharesBought, SharesSold
from zmart.market.fold_positions import after_buy, after_sell
from zmart.market.fold_state import PositionFold
from zmart.market.holding_history import HoldingHistory
from zmart.market.types import PRICE_ONE, Lamports, MarketId, PriceE9, Shares, Slot
from zmart.market.valuation import (
    ClaimRule,
    FinalMarket,
    at_price,
    fixed_payout,
    pool_payout,
)
from zmart.services.gateway.api import price_samples
from zmart.services.gateway.api.value_history import ValueChange, history
from zmart.store.holdings import SettledPosition, TradedBefore
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


def final(claimed: int = 0, **fields: object) -> HeldPosition:
    """A position in a market that ended with YES: ten shares of it, bought for 12, after others were sold."""
    bought = {"cost_basis_yes": 0 if claimed else 12, "total_invested": 20, "realized_pnl_lamports": 5}
    paid = {"has_claimed": bool(claimed), "claimed_lamports": claimed}
    return held(10, 0, **{"state": "FINALIZED", "final_outcome": True, **bought, **paid, **fields})


def test_a_claimed_position_keeps_what_was_paid_as_its_cost() -> None:
    value = final(claimed=10, realized_pnl_lamports=5 + 10 - 12).value(ClaimRule.FIXED)
    assert (value.current, value.basis, value.claimable, value.cost, value.unrealized) == (0, 0, 0, 20, 0)
    assert value.result == value.gain == 3 == 10 + value.received - value.cost


def test_what_a_claim_would_pay_is_claimable_and_not_realized() -> None:
    value = final().value(ClaimRule.FIXED)
    assert (value.current, value.claimable, value.realized, value.unrealized) == (10, 10, 5, -2)
    assert value.result == value.gain == 3 == value.claimable + value.received - value.cost
    assert not final().is_open


def test_the_loss_of_a_final_market_is_realized() -> None:
    row = final(final_outcome=False)
    value = row.value(ClaimRule.FIXED)
    assert (value.current, value.basis, value.unrealized, value.realized) == (0, 0, 0, 5 - 12)
    assert value.result == value.gain == -7 == value.received - value.cost
    assert not row.is_open


def test_a_position_in_a_market_that_is_not_final_costs_what_its_shares_cost() -> None:
    row = final(state="DISPUTED")
    value = row.value(ClaimRule.FIXED)
    assert (value.cost, value.basis, value.claimable, value.gain) == (12, 12, 0, value.unrealized)
    assert row.is_open


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


def at(number: int) -> datetime:
    return BEGIN + timedelta(seconds=number)


def test_a_claim_is_realized_and_takes_the_shares_of_its_market() -> None:
    tape = [
        trade(1, MARKETS[0], "buy", True, 1_000, 600, 500_000_000),
        trade(3, MARKETS[1], "buy", True, 1_000, 600, 500_000_000),
    ]
    claim = ValueChange(at(2), lambda held: held.claim(MarketId(MARKETS[0]), 1_000))
    last = history(tape, changes=[claim])[-1]
    assert (last.value, last.invested, last.realized_pnl) == (500, 600, 400)


def test_changes_after_the_last_trade_have_points() -> None:
    one = MarketId(MARKETS[0])
    tape = [trade(1, one, "buy", True, 1_000, 600, 500_000_000)]
    changes = [
        ValueChange(at(2), lambda held: held.price(one, 700_000_000)),
        ValueChange(at(3), lambda held: held.price(one, 700_000_000)),
        ValueChange(at(4), lambda held: held.finalize(one, 1_000)),
        ValueChange(at(5), lambda held: held.claim(one, 1_000)),
    ]
    points = [(point.value, point.invested, point.realized_pnl) for point in history(tape, changes=changes)]
    assert points == [(500, 600, 0), (700, 600, 0), (1_000, 600, 0), (0, 0, 400)]


def test_the_end_of_a_market_that_pays_nothing_realizes_the_loss() -> None:
    one = MarketId(MARKETS[0])
    tape = [trade(1, one, "buy", True, 1_000, 600, 500_000_000)]
    last = history(tape, changes=[ValueChange(at(2), lambda held: held.finalize(one, 0))])[-1]
    assert (last.value, last.invested, last.realized_pnl) == (0, 0, -600)


@given(tapes(), st.integers(-10, 10**7))
def test_a_history_reads_a_bounded_number_of_prices_of_what_was_held(
    tape: list[TradeRow], after_s: int
) -> None:
    present = tape[-1].traded_at + timedelta(seconds=after_s)
    asked = price_samples.of(tape, [], [], present)
    assert len(asked) <= 1_000
    assert len({moment for _, moment in asked}) <= 100
    first = {row.market_id: row.traded_at for row in reversed(tape)}
    assert all(first[market] <= moment < present for market, moment in asked)


def test_a_history_of_many_markets_reads_no_more_prices() -> None:
    tape = [trade(number, f"{number:0>64}", "buy", True, 1, 1, 1) for number in range(1_000)]
    asked = price_samples.of(tape, [], [], at(10**6))
    assert len(asked) <= 1_000
    assert len({market for market, _ in asked}) == 250


def test_no_price_is_read_after_the_end_of_its_market() -> None:
    tape = [trade(1, MARKETS[0], "buy", True, 1_000, 600, 500_000_000)]
    fields = {name: getattr(final(), name) for name in HeldPosition.__struct_fields__}
    ended = SettledPosition(**fields, finalized_at=at(51), claimed_at=None)
    asked = price_samples.of(tape, [], [ended], at(101))
    assert {moment for _, moment in asked} == {at(1 + second) for second in range(1, 50)}
