"""Quotes of the model `reference` for whole trades: fees, limits and refusals."""

from __future__ import annotations

import re

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zmart.chain.accounts import GlobalConfig
from zmart.errors import PricingError
from zmart.market.fold_config import ConfigFold
from zmart.market.pricing import FeeSchedule, Quantities, pricing_model
from zmart.market.types import Bps, Slot, Wallet

MODEL = pricing_model("reference")
SOL = 10**9
FEES = FeeSchedule(Bps(300), Bps(200), Bps(500))
MARKET = Quantities(3 * SOL, 2 * SOL, 5 * SOL)

schedules = st.builds(FeeSchedule, *[st.integers(0, 3_333).map(Bps)] * 3)
markets = st.builds(
    lambda b, yes, no: Quantities(int(yes * b), int(no * b), b),
    st.integers(10**7, 10**13), st.floats(0, 10), st.floats(0, 10),
)  # fmt: skip


def refusal(name: str) -> pytest.RaisesExc[PricingError]:
    return pytest.raises(PricingError, match=f"^{name}")


@given(markets, schedules, st.booleans(), st.floats(0, 20))
def test_a_buyer_pays_at_most_the_target_and_nearly_all_of_it(
    market: Quantities, fees: FeeSchedule, outcome: bool, size: float
) -> None:
    target = 10_000 + int(size * market.b)
    quote = MODEL.buy_total(market, fees, outcome, target)
    assert quote.cost == target * 10_000 // (10_000 + fees.total_bps)
    assert quote.total == quote.cost + quote.fees.protocol + quote.fees.resolver + quote.fees.lp
    assert target - 2 <= quote.total <= target


@given(markets, schedules, st.booleans(), st.floats(1e-9, 20))
def test_cost_of_shares_is_the_least_target_that_buys_them(
    market: Quantities, fees: FeeSchedule, outcome: bool, size: float
) -> None:
    shares = int(size * market.b) + 1
    target = MODEL.cost_of_shares(market, fees, outcome, shares)
    assert MODEL.buy_total(market, fees, outcome, target).shares >= shares
    if target > 10_000:
        assert MODEL.buy_total(market, fees, outcome, target - 1).shares < shares


@given(markets, schedules, st.booleans(), st.floats(0, 20))
def test_buying_and_selling_at_once_loses_just_the_fees(
    market: Quantities, fees: FeeSchedule, outcome: bool, size: float
) -> None:
    bought = MODEL.buy_total(market, fees, outcome, 20_000 + int(size * market.b))
    sold = MODEL.sell_total(market.after(outcome, bought.shares), fees, outcome, bought.shares)
    assert sold.gross == bought.cost
    assert bought.total - sold.net == 2 * (bought.total - bought.cost)
    assert (sold.price_yes_before, sold.price_yes_after) == (bought.price_yes_after, bought.price_yes_before)


def test_a_round_trip_on_the_quickstart_market_is_as_documented() -> None:
    quote = MODEL.buy_total(Quantities(0, 0, SOL), FEES, True, 100_000_000)
    assert quote.cost == 90_909_090
    assert (quote.fees.protocol, quote.fees.resolver, quote.fees.lp) == (2_727_272, 1_818_181, 4_545_456)
    assert quote.total == 99_999_999
    assert quote.price_yes_before == 500_000_000


def test_no_fees_are_allowed() -> None:
    quote = MODEL.buy_total(MARKET, FeeSchedule(Bps(0), Bps(0), Bps(0)), True, SOL)
    assert quote.total == quote.cost == SOL


def test_a_target_below_ten_thousand_lamports_is_too_small() -> None:
    with refusal("TradeTooSmall"):
        MODEL.buy_total(MARKET, FEES, True, 9_999)
    assert MODEL.buy_total(MARKET, FEES, True, 10_000).cost == 9_090


def test_proceeds_below_ten_thousand_lamports_are_too_small() -> None:
    with refusal("TradeTooSmall"):
        MODEL.sell_total(MARKET, FEES, True, 10_000)


def test_proceeds_below_the_minimum_are_slippage() -> None:
    net = MODEL.sell_total(MARKET, FEES, True, SOL).net
    assert MODEL.sell_total(MARKET, FEES, True, SOL, net).net == net
    with refusal("SlippageExceeded"):
        MODEL.sell_total(MARKET, FEES, True, SOL, net + 1)


@pytest.mark.parametrize("name", ["v069", "reference"])
def test_a_refused_trade_says_its_amounts_in_sol(name: str) -> None:
    """P7: the message of a refused trade has its amounts in SOL, not in lamports, because users read it."""
    model, market = pricing_model(name), Quantities(3 * SOL, 2 * SOL, 200 * SOL)
    refused = [
        (lambda: model.buy_total(market, FEES, True, 9_999), "a trade is at least 0.00001 SOL"),
        (lambda: model.sell_total(market, FEES, True, 10_000), "and a trade is at least 0.00001 SOL"),
        (lambda: model.sell_total(market, FEES, True, SOL, 2 * SOL), "SOL after fees, less than 2 SOL"),
    ]
    for trade, sentence in refused:
        with pytest.raises(PricingError, match=re.escape(sentence)) as caught:
            trade()
        assert "lamports" not in str(caught.value)


def test_no_shares_have_no_price() -> None:
    with refusal("TradeTooSmall"):
        MODEL.cost_of_shares(MARKET, FEES, True, 0)


@pytest.mark.parametrize("amount", [1 << 64, -1])
def test_amounts_outside_of_u64_are_refused(amount: int) -> None:
    with refusal("OverflowError" if amount > 0 else "UnderflowError"):
        MODEL.buy_total(MARKET, FEES, True, amount)
    with refusal("OverflowError" if amount > 0 else "UnderflowError"):
        MODEL.sell_total(MARKET, FEES, True, amount)


def test_fees_of_an_amount_beyond_the_program_overflow() -> None:
    with refusal("OverflowError"):
        FEES.split((1 << 64) // 1_000 + 1)
    assert FEES.split((1 << 64) // 1_000).total == ((1 << 64) // 1_000) * 1_000 // 10_000


@pytest.mark.parametrize("rates", [(-1, 0, 0), (10_000, 1, 0)])
def test_impossible_fee_rates_are_refused(rates: tuple[int, int, int]) -> None:
    with refusal("InvalidFeeStructure"):
        FeeSchedule(*map(Bps, rates))


@given(schedules, st.integers(0, 10**15))
def test_parts_of_a_fee_make_the_whole(fees: FeeSchedule, amount: int) -> None:
    split = fees.split(amount)
    assert split.total == amount * fees.total_bps // 10_000
    assert min(split.protocol, split.resolver, split.lp) >= 0


def test_the_account_and_the_fold_of_the_config_give_one_schedule() -> None:
    config = ConfigFold(
        admin=Wallet("a"),
        backend_authority=Wallet("b"),
        protocol_fee_bps=Bps(1),
        resolver_reward_bps=Bps(2),
        liquidity_provider_fee_bps=Bps(3),
        updated_slot=Slot(4),
    )
    fields = msgspec.structs.asdict(config)
    account = GlobalConfig(
        **{name: fields.get(name, 0) for name in GlobalConfig.__struct_fields__},
    )
    expected = FeeSchedule(protocol_bps=Bps(1), resolver_bps=Bps(2), lp_bps=Bps(3))
    assert config.fees == FeeSchedule.of_config(account) == expected


@given(schedules, st.integers(0, 10**14))
def test_the_parts_of_a_fee_are_the_whole_and_never_more_than_the_rate(
    fees: FeeSchedule, amount: int
) -> None:
    split = fees.split(amount)
    assert split.protocol + split.resolver + split.lp == split.total == amount * fees.total_bps // 10_000
    assert min(split.protocol, split.resolver, split.lp) >= 0
