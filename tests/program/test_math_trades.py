"""The program executes each trade exactly as the model `reference` quotes it, fees and refusals included."""

from __future__ import annotations

from random import Random

import pytest
from solders.keypair import Keypair
from svm_chain import SOL, ProgramFailed, refused
from svm_harness import Market, Zmart

from zmart.errors import PricingError
from zmart.market.pricing import BuyQuote, FeeSchedule, Quantities, SellQuote, pricing_model
from zmart.market.types import Bps

MODEL = pricing_model("reference")
TRADES = 60


def quantities(zmart: Zmart, market: Market) -> Quantities:
    state = zmart.market(market)
    return Quantities(state["shares_yes"], state["shares_no"], state["b_parameter"])


def quoted_buy(now: Quantities, fees: FeeSchedule, outcome: bool, target: int) -> BuyQuote | str:
    try:
        return MODEL.buy_total(now, fees, outcome, target)
    except PricingError as error:
        return error.name


def quoted_sell(now: Quantities, fees: FeeSchedule, outcome: bool, shares: int) -> SellQuote | str:
    try:
        return MODEL.sell_total(now, fees, outcome, shares)
    except PricingError as error:
        return error.name


def check_buy(
    zmart: Zmart, market: Market, user: Keypair, quote: BuyQuote | str, order: tuple[bool, int]
) -> None:
    outcome, target = order
    if isinstance(quote, str):
        with pytest.raises(ProgramFailed) as caught:
            zmart.buy(market, user, outcome, target)
        assert caught.value.name == quote
        return
    with refused("SlippageExceeded"):
        zmart.buy(market, user, outcome, target, quote.shares + 1)
    before = zmart.market(market)
    event = zmart.buy(market, user, outcome, target, quote.shares).event
    after = zmart.market(market)
    assert (event["shares"], event["cost"], event["new_price_yes"]) == (
        quote.shares, quote.total, quote.price_yes_after,
    )  # fmt: skip
    for name, fee in [
        ("protocol", quote.fees.protocol),
        ("resolver", quote.fees.resolver),
        ("lp", quote.fees.lp),
    ]:
        assert after[f"accumulated_{name}_fees"] - before[f"accumulated_{name}_fees"] == fee
    assert after["current_liquidity"] - before["current_liquidity"] == quote.cost


def check_sell(
    zmart: Zmart, market: Market, user: Keypair, quote: SellQuote | str, order: tuple[bool, int]
) -> None:
    outcome, shares = order
    if isinstance(quote, str):
        with pytest.raises(ProgramFailed) as caught:
            zmart.sell(market, user, outcome, shares)
        assert caught.value.name == quote
        return
    before = zmart.market(market)
    event = zmart.sell(market, user, outcome, shares).event
    after = zmart.market(market)
    assert (event["shares"], event["proceeds"], event["new_price_yes"]) == (
        quote.shares, quote.net, quote.price_yes_after,
    )  # fmt: skip
    assert before["current_liquidity"] - after["current_liquidity"] == quote.gross


@pytest.mark.parametrize("rates", [(300, 200, 500), (0, 0, 0), (7, 0, 131)])
def test_every_trade_of_a_random_walk_is_as_quoted(zmart: Zmart, rates: tuple[int, int, int]) -> None:
    random = Random(str(rates))
    zmart.update_config(
        protocol_fee_bps=rates[0], resolver_reward_bps=rates[1], liquidity_provider_fee_bps=rates[2]
    )
    fees = FeeSchedule(*map(Bps, rates))
    market, user = zmart.open(b=10 * SOL), zmart.chain.wallet(1_000_000)
    for _ in range(TRADES):
        now, outcome = quantities(zmart, market), random.random() < 0.6
        held = now.q_yes if outcome else now.q_no
        if random.random() < 0.6 or held == 0:
            target = int(10 ** random.uniform(3.8, 10.7))
            check_buy(zmart, market, user, quoted_buy(now, fees, outcome, target), (outcome, target))
        else:
            shares = random.choice([held, random.randint(1, held), random.randint(1, 20_000)])
            check_sell(zmart, market, user, quoted_sell(now, fees, outcome, shares), (outcome, shares))
