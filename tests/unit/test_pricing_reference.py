"""Property tests of the pricing model `reference`: bounds, monotony, round trips."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from zmart.errors import PricingError
from zmart.market.pricing import PricingModel, Quantities, pricing_model
from zmart.market.pricing.reference import MAX_B, MAX_EXPONENT, MAX_Q, MIN_B

MODEL: PricingModel = pricing_model("reference")
ONE = 10**9


def log_uniform(low: int, high: int) -> st.SearchStrategy[int]:
    """Return a strategy for integers from `low` to `high` whose number of bits is evenly distributed."""
    bits = st.integers(low.bit_length(), high.bit_length())
    return bits.flatmap(lambda n: st.integers(max(low, 1 << (n - 1)), min(high, (1 << n) - 1)))


liquidities = st.one_of(log_uniform(MIN_B, MAX_B), st.sampled_from([MIN_B, MAX_B, ONE, 100 * ONE]))
gaps_in_b = st.one_of(st.floats(0, MAX_EXPONENT - 2), st.floats(0, 3), st.sampled_from([0, 1, 20, 40]))


@st.composite
def markets(draw: st.DrawFn) -> Quantities:
    b, base = draw(liquidities), draw(log_uniform(1, 10**17))
    gap = int(draw(gaps_in_b) * b) + draw(st.integers(0, 3))
    q_yes, q_no = draw(st.permutations([base + gap, base]))
    return Quantities(q_yes, q_no, b)


def cost(market: Quantities) -> int:
    return MODEL.cost(market.q_yes, market.q_no, market.b)


def price(market: Quantities) -> int:
    return MODEL.price_yes(market.q_yes, market.q_no, market.b)


@given(markets(), st.booleans())
@example(Quantities(20 * MAX_B, 0, MAX_B), False)
def test_one_more_unit_costs_nothing_or_one_lamport(market: Quantities, outcome: bool) -> None:
    assert cost(market.after(outcome, 1)) - cost(market) in {0, 1}


@given(markets(), st.booleans(), st.floats(0, 1))
def test_cost_and_price_never_fall_as_a_side_grows(market: Quantities, outcome: bool, size: float) -> None:
    after = market.after(outcome, int(size * market.b) + 1)
    assert cost(after) >= cost(market)
    assert price(after) >= price(market) if outcome else price(after) <= price(market)


@given(markets())
def test_prices_of_both_sides_sum_to_one(market: Quantities) -> None:
    mirrored = Quantities(market.q_no, market.q_yes, market.b)
    assert price(market) + price(mirrored) == ONE
    assert cost(market) == cost(mirrored)


@given(liquidities, log_uniform(1, 10**17))
def test_balance_is_a_price_of_one_half(b: int, shares: int) -> None:
    assert MODEL.price_yes(shares, shares, b) == ONE // 2


@given(markets(), st.booleans(), log_uniform(1, 10**16))
def test_a_buyer_gets_the_most_shares_the_budget_buys(market: Quantities, outcome: bool, budget: int) -> None:
    budget = min(budget, market.b)
    trade = MODEL.buy(market.q_yes, market.q_no, market.b, outcome, budget)
    after = market.after(outcome, trade.shares)
    assert trade.cost == budget == cost(after) - cost(market)
    side, other = (after.q_yes, after.q_no) if outcome else (after.q_no, after.q_yes)
    assert side == other + MAX_EXPONENT * market.b or cost(after.after(outcome, 1)) - cost(market) > budget


@given(markets(), st.booleans(), st.floats(0, 1.9))
def test_a_round_trip_gives_back_exactly_the_cost(market: Quantities, outcome: bool, size: float) -> None:
    trade = MODEL.buy(market.q_yes, market.q_no, market.b, outcome, int(size * market.b))
    after = market.after(outcome, trade.shares)
    assert MODEL.sell(after.q_yes, after.q_no, after.b, outcome, trade.shares) == trade.cost


@given(markets(), st.lists(st.tuples(st.booleans(), st.floats(0, 0.2)), min_size=2, max_size=8))
def test_cost_does_not_depend_on_the_path(market: Quantities, steps: list[tuple[bool, float]]) -> None:
    paid, now = 0, market
    for outcome, size in steps:
        after = now.after(outcome, int(size * market.b))
        paid += cost(after) - cost(now)
        now = after
    assert paid == cost(now) - cost(market)
    assert paid == sum(
        cost(later) - cost(earlier)
        for earlier, later in [
            (market, Quantities(now.q_yes, market.q_no, market.b)),
            (Quantities(now.q_yes, market.q_no, market.b), now),
        ]
        if abs(later.q_yes - later.q_no) <= MAX_EXPONENT * market.b
    )


@given(markets())
def test_the_pool_covers_every_winning_share(market: Quantities) -> None:
    pool = MODEL.min_deposit(market.b) + cost(market) - MODEL.cost(0, 0, market.b)
    assert pool >= max(market.q_yes, market.q_no)


def test_the_least_deposit_of_one_sol_is_ln_2_rounded_up() -> None:
    assert MODEL.min_deposit(ONE) == MODEL.max_loss(ONE) == 693_147_181


@pytest.mark.parametrize(
    ("name", "market"),
    [
        ("InvalidBParameter", Quantities(0, 0, MIN_B - 1)),
        ("InvalidBParameter", Quantities(0, 0, MAX_B + 1)),
        ("OverflowError", Quantities(MAX_Q + 1, MAX_Q, ONE)),
        ("ExponentTooLarge", Quantities(MAX_EXPONENT * ONE + 1, 0, ONE)),
        ("UnderflowError", Quantities(-1, 0, ONE)),
    ],
)
def test_markets_outside_of_the_model_are_refused(name: str, market: Quantities) -> None:
    for ask in (cost, price):
        with pytest.raises(PricingError, match=f"^{name}"):
            ask(market)


def test_the_last_market_inside_the_model_is_priced() -> None:
    assert cost(Quantities(MAX_EXPONENT * MAX_B, 0, MAX_B)) == MAX_EXPONENT * MAX_B + 1
    assert cost(Quantities(MAX_Q, MAX_Q, MIN_B)) == MAX_Q + MODEL.min_deposit(MIN_B)


def test_a_budget_beyond_the_last_share_is_refused() -> None:
    last = MODEL.cost(MAX_EXPONENT * ONE, 0, ONE) - MODEL.cost(0, 0, ONE)
    assert MODEL.buy(0, 0, ONE, True, last).shares == MAX_EXPONENT * ONE
    with pytest.raises(PricingError, match=r"^ExponentTooLarge"):
        MODEL.buy(0, 0, ONE, True, last + 1)
    with pytest.raises(PricingError, match=r"^OverflowError"):
        MODEL.buy(MAX_Q, MAX_Q, ONE, True, 10 * ONE)


def test_more_shares_than_are_out_cannot_be_sold() -> None:
    with pytest.raises(PricingError, match=r"^InsufficientShares"):
        MODEL.sell(ONE, ONE, ONE, False, ONE + 1)
