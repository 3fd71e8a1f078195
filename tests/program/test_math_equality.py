"""The program's pricing functions and the pricing model `reference` return the same results and errors."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest
from math_svm import Answer, Call, MathProbe

from zmart.errors import PricingError
from zmart.market.pricing import pricing_model
from zmart.market.pricing.reference import MAX_B, MAX_EXPONENT, MAX_Q, MIN_B

MODEL = pricing_model("reference")
CALLS_EACH = 2_500
U64_END = 1 << 64


@pytest.fixture(scope="module")
def probe() -> MathProbe:
    return MathProbe()


def in_python(which: Call, q_side: int, q_other: int, b: int, amount: int) -> Answer:
    try:
        match which:
            case Call.COST:
                return MODEL.cost(q_side, q_other, b), 0
            case Call.PRICE:
                return MODEL.price_yes(q_side, q_other, b), 0
            case Call.BUY:
                trade = MODEL.buy(q_side, q_other, b, True, amount)
                return trade.shares, trade.cost
            case _:
                return MODEL.sell(q_side, q_other, b, True, amount), 0
    except PricingError as error:
        return error.name


def random_question(random: Random) -> tuple[int, int, int, int]:
    """Return a random q_side, q_other, b and amount: markets of every size, at and around the model's bounds."""
    b = random.choice([MIN_B - 1, MIN_B, MAX_B, MAX_B + 1] if random.random() < 0.1 else [0])
    b = b or int(10 ** random.uniform(7, 15))
    base = random.choice([0, b, int(10 ** random.uniform(0, 18)), MAX_Q - random.randrange(2 * b)])
    gap_in_b = random.choice([0, 1, 20, 40, MAX_EXPONENT, random.uniform(0, 3), random.uniform(0, 61)])
    gap = max(0, int(gap_in_b * b) + random.randint(-1, 1))
    q_side, q_other = random.sample([base, base + gap], 2)
    amount = random.choice(
        [random.randrange(3), random.randrange(q_side + 2), int(b * 10 ** random.uniform(-8, 1.9))]
    )
    return q_side, q_other, b, amount


@pytest.mark.parametrize("which", [Call.COST, Call.PRICE, Call.BUY, Call.SELL])
def test_program_and_python_agree_on_random_calls(probe: MathProbe, which: Call) -> None:
    random = Random(which)
    kinds: Counter[str] = Counter()
    for _ in range(CALLS_EACH):
        question = random_question(random)
        answer = probe(which, *question)
        assert answer == in_python(which, *question), question
        kinds[answer if isinstance(answer, str) else "priced"] += 1
    assert kinds["priced"] > CALLS_EACH // 4
    assert {"InvalidBParameter", "OverflowError", "ExponentTooLarge"} <= set(kinds)
    assert ("InsufficientShares" in kinds) == (which is Call.SELL)


def test_muldiv_is_the_floor_of_the_wide_product(probe: MathProbe) -> None:
    random = Random(0)
    for _ in range(CALLS_EACH):
        a, b, d = (random.getrandbits(random.randrange(65)) for _ in range(3))
        exact = a * b // d if d else 0
        expected: Answer = (exact, 0) if exact < U64_END else "OverflowError"
        assert probe(Call.MULDIV, a, b, d) == (expected if d else "DivisionByZero")


@pytest.mark.parametrize(
    ("a", "b", "d"),
    [
        (U64_END - 1, U64_END - 1, U64_END - 1),
        (U64_END - 1, U64_END - 2, U64_END - 1),
        (1 << 63, 2, (1 << 63) + 1),
        (U64_END - 1, 1 << 32, (1 << 32) + 1),
        (U64_END - 1, (1 << 32) - 1, 1 << 32),
    ],
)
def test_muldiv_is_exact_at_the_edges_of_its_digits(probe: MathProbe, a: int, b: int, d: int) -> None:
    assert probe(Call.MULDIV, a, b, d) == (a * b // d, 0)
