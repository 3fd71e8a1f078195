"""The pricing model `v069` returns the recorded results and errors of the deployed program's math."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from zmart.errors import PricingError
from zmart.market.pricing import FeeSchedule, Quantities, pricing_model
from zmart.market.pricing.v069 import b_from_max_loss, exp, ln
from zmart.market.types import Bps

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "pricing_and_wire_vectors.json").read_text())[
    "lmsr"
]
V069 = pricing_model("v069")
FEES = FeeSchedule(Bps(300), Bps(200), Bps(500))
B = 100_000_000_000
Vector = dict[str, Any]


def each(section: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("vector", VECTORS[section], ids=str)


def outcome_of(ask: Callable[[], int]) -> int | str:
    """Return the result of a pricing function, or its error in the form of the vectors."""
    try:
        return ask()
    except PricingError as error:
        return f"ERR {error.name}"


def market(vector: Vector) -> Quantities:
    return Quantities(vector["q_yes"], vector["q_no"], vector["b"])


@each("exp")
def test_exp_is_the_programs(vector: Vector) -> None:
    assert exp(vector["x"]) == vector["out"]


@each("ln")
def test_ln_is_the_programs(vector: Vector) -> None:
    assert ln(vector["x"]) == vector["out"]


@each("cost")
def test_cost_is_the_programs(vector: Vector) -> None:
    assert outcome_of(lambda: V069.cost(vector["q_yes"], vector["q_no"], vector["b"])) == vector["out"]


@each("price_yes")
def test_price_is_the_programs(vector: Vector) -> None:
    assert outcome_of(lambda: V069.price_yes(vector["q_yes"], vector["q_no"], vector["b"])) == vector["out"]


@each("buy_default_fees")
def test_buy_is_the_programs(vector: Vector) -> None:
    def buy() -> Vector:
        quote = V069.buy_total(market(vector), FEES, bool(vector["outcome"]), vector["target_cost"])
        return {
            "cost_prefee": quote.cost,
            "shares": quote.shares,
            "protocol_fee": quote.fees.protocol,
            "resolver_fee": quote.fees.resolver,
            "lp_fee": quote.fees.lp,
            "total_cost": quote.total,
            "new_price_yes": quote.price_yes_after,
        }

    if "error" in vector:
        with pytest.raises(PricingError) as caught:
            buy()
        assert caught.value.name == vector["error"]
    else:
        assert vector.items() >= buy().items()


@each("sell_default_fees_math_only")
def test_sell_is_the_programs(vector: Vector) -> None:
    arguments = (vector["q_yes"], vector["q_no"], vector["b"], bool(vector["outcome"]), vector["shares"])
    if "error" in vector:
        with pytest.raises(PricingError) as caught:
            V069.sell(*arguments)
        assert caught.value.name == vector["error"]
        return
    gross = V069.sell(*arguments)
    fees = FEES.split(gross)
    assert gross == vector["proceeds_prefee"]
    assert (fees.protocol, fees.resolver, fees.lp) == (
        vector["protocol_fee"], vector["resolver_fee"], vector["lp_fee"],
    )  # fmt: skip
    assert gross - fees.total == vector["net_proceeds"]


@each("fees")
def test_fees_are_the_programs(vector: Vector) -> None:
    schedule = FeeSchedule(vector["protocol_bps"], vector["resolver_bps"], vector["lp_bps"])
    fees = schedule.split(vector["amount"])
    expected = (vector["protocol_fee"], vector["resolver_fee"], vector["lp_fee"], vector["total"])
    assert (fees.protocol, fees.resolver, fees.lp, fees.total) == expected


@each("max_loss")
def test_max_loss_is_the_programs(vector: Vector) -> None:
    assert V069.max_loss(vector["b"]) == vector["out"]


@each("b_from_max_loss")
def test_b_from_max_loss_is_the_programs(vector: Vector) -> None:
    assert b_from_max_loss(vector["max_loss"]) == vector["out"]


def test_five_buys_seen_on_devnet_are_reproduced() -> None:
    seen = VECTORS["devnet_6s8b_five_buys"]
    now = Quantities(seen["q_start_each"], seen["q_start_each"], seen["b"])
    quotes = []
    for _ in seen["shares"]:
        quotes.append(V069.buy_total(now, FEES, True, seen["target_cost"]))
        now = now.after(True, quotes[-1].shares)
    assert [quote.shares for quote in quotes] == seen["shares"]
    assert [quote.cost for quote in quotes] == seen["cost_prefee"]
    assert [quote.total for quote in quotes] == seen["total_cost"]


def test_trades_of_the_recorded_lifecycle_are_reproduced() -> None:
    lifecycle = VECTORS["lifecycle"]
    now = Quantities(lifecycle["initial_shares_each"], lifecycle["initial_shares_each"], lifecycle["b"])
    for step in lifecycle["steps"][:2]:
        outcome = step["buy"] == "YES"
        quote = V069.buy_total(now, FEES, outcome, step["target_cost"])
        now = now.after(outcome, quote.shares)
        assert (quote.cost, quote.shares, quote.total) == (
            step["cost_prefee"], step["shares"], step["total_cost"],
        )  # fmt: skip
        assert quote.price_yes_after == step["new_price_yes"]


@pytest.mark.parametrize(
    ("name", "q_yes", "b"),
    [
        ("InvalidBParameter", 0, B - 1),
        ("InvalidBParameter", 0, 1 << 64),
        ("ExponentTooLarge", 20 * B + 100, B),
        ("OverflowError", (1 << 64) - 1, B),
    ],
)
def test_cost_refuses_as_the_program_does(name: str, q_yes: int, b: int) -> None:
    q_no = q_yes if name == "OverflowError" else 0
    with pytest.raises(PricingError) as caught:
        V069.cost(q_yes, q_no, b)
    assert caught.value.name == name


def test_a_fee_schedule_of_zero_is_a_division_by_zero() -> None:
    nothing = FeeSchedule(Bps(0), Bps(0), Bps(0))
    with pytest.raises(PricingError) as caught:
        V069.buy_total(Quantities(B, B, B), nothing, True, 10**9)
    assert caught.value.name == "DivisionByZero"


def test_fees_above_the_assumed_ten_percent_are_slippage() -> None:
    with pytest.raises(PricingError) as caught:
        V069.buy_total(Quantities(B, B, B), FeeSchedule(Bps(500), Bps(500), Bps(500)), True, 10**9)
    assert caught.value.name == "SlippageExceeded"


@pytest.mark.parametrize("outcome", [True, False])
@pytest.mark.parametrize("shares", [1_000_000, 10**9, 3 * B, 9 * B])
def test_cost_of_shares_is_the_least_target_that_buys_them(outcome: bool, shares: int) -> None:
    now = Quantities(B // 1000, B // 500, B)
    target = V069.cost_of_shares(now, FEES, outcome, shares)
    assert V069.buy_total(now, FEES, outcome, target).shares >= shares
    with_less = outcome_of(lambda: V069.buy_total(now, FEES, outcome, target - 1).shares)
    assert with_less in {"ERR UnderflowError", "ERR TradeTooSmall"} or int(with_less) < shares


def test_cost_of_shares_refuses_more_than_the_market_sells() -> None:
    with pytest.raises(PricingError) as caught:
        V069.cost_of_shares(Quantities(0, 0, B), FEES, True, 21 * B)
    assert caught.value.name == "ExponentTooLarge"


def test_the_least_deposit_is_one_lamport() -> None:
    assert V069.min_deposit(B) == 1
