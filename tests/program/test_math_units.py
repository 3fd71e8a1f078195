"""The compute units that pricing consumes on chain. An instruction has 200,000 compute units by default."""

from __future__ import annotations

from random import Random

import pytest
from math_svm import Call, MathProbe

from zmart.market.pricing.reference import MAX_B, MAX_EXPONENT, MIN_B


@pytest.fixture(scope="module")
def probe() -> MathProbe:
    return MathProbe()


def usual(random: Random) -> tuple[int, int, int, int]:
    """Return q_side, q_other, b and amount of a usual trade: up to 3 b between the sides, an amount below b."""
    b = int(10 ** random.uniform(7, 15))
    q_side, q_other = random.sample([b, b + random.randrange(3 * b)], 2)
    return q_side, q_other, b, random.randrange(b)


def hardest(random: Random) -> tuple[int, int, int, int]:
    """Return q_side, q_other, b and amount of a buy that takes the most compute units.

    b is the smallest or the largest allowed, the shares bought are almost worthless, the budget is a few lamports.
    """
    b = random.choice([MIN_B, MAX_B])
    return 0, int(random.uniform(15, MAX_EXPONENT) * b), b, random.randrange(200)


@pytest.mark.parametrize(
    ("which", "limit"), [(Call.PRICE, 700), (Call.COST, 1_000), (Call.SELL, 2_000), (Call.BUY, 8_000)]
)
def test_usual_trades_are_cheap(probe: MathProbe, which: Call, limit: int) -> None:
    random = Random(1)
    assert max(probe.units(which, *usual(random)) for _ in range(500)) < limit


def test_the_hardest_buy_is_a_quarter_of_the_default_budget(probe: MathProbe) -> None:
    random = Random(2)
    assert max(probe.units(Call.BUY, *hardest(random)) for _ in range(2_000)) < 50_000
