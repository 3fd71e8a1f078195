"""The pricing math stays within the error bounds of docs/pricing.md, compared with arithmetic of 60 digits."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

import pytest
from mpmath import mp, mpf

from zmart.market.pricing import pricing_model
from zmart.market.pricing.fixed_point import ONE_Q58, exp_neg, ln_1p
from zmart.market.pricing.reference import MAX_B, MAX_EXPONENT, MIN_B

MODEL = pricing_model("reference")
SAMPLES = 4_000
EDGES_IN_B = [0, 1, 20, 40, MAX_EXPONENT]


@pytest.fixture(autouse=True)
def sixty_digits() -> Iterator[None]:
    with mp.workdps(60):
        yield


def gaps(b: int) -> Iterator[int]:
    random = Random(b)
    yield from (
        edge * b + step for edge in EDGES_IN_B for step in (-2, -1, 0, 1, 2) if 0 <= edge * b + step <= 60 * b
    )
    yield from (random.randrange(60 * b) for _ in range(200))
    yield from (int(b * 10 ** random.uniform(-9, 0)) for _ in range(200))


def exponents() -> Iterator[int]:
    """Yield exponents x in Q58, many of them near multiples of ln 2 / 16, where the series starts again."""
    random = Random(1)
    seam = mp.log(2) * ONE_Q58 / 16
    for _ in range(SAMPLES):
        yield random.randrange(60 << 58)
        yield int(2 ** random.uniform(0, 63.9))
        yield int(seam * random.randrange(1, 1_300)) + random.randint(-2, 2)


def fractions() -> Iterator[int]:
    """Yield fractions e in Q58, many of them near sixteenths, where the table entry changes."""
    random = Random(2)
    for _ in range(SAMPLES):
        yield random.randrange(ONE_Q58)
        yield int(2 ** random.uniform(0, 58))
        yield (random.randrange(1, 16) << 54) + random.randint(-2, 2)


@pytest.mark.parametrize("b", [MIN_B, MIN_B + 1, 10**9, 10**11, 10**13, MAX_B - 1, MAX_B])
def test_cost_is_the_next_lamport_above_the_true_one(b: int) -> None:
    for gap in gaps(b):
        true_cost = gap + b * mp.log1p(mp.exp(-mpf(gap) / b))
        assert 0 <= MODEL.cost(gap, 0, b) - true_cost < mpf("1.01")


@pytest.mark.parametrize("b", [MIN_B, 10**9, 10**11, MAX_B])
def test_price_is_the_nearest_billionth(b: int) -> None:
    for gap in gaps(b):
        true_price = 10**9 / (1 + mp.exp(-mpf(gap) / b))
        assert abs(MODEL.price_yes(gap, 0, b) - true_price) <= mpf("0.5000001")


@pytest.mark.parametrize("b", [MIN_B, 10**9, 10**11, MAX_B])
def test_neighbours_are_monotone_at_every_edge(b: int) -> None:
    for gap in gaps(b):
        if gap == MAX_EXPONENT * b:
            continue
        assert MODEL.cost(gap + 1, 0, b) - MODEL.cost(gap, 0, b) in {0, 1}
        assert MODEL.cost(gap + 1, 1, b) - MODEL.cost(gap + 1, 0, b) in {0, 1}
        assert MODEL.price_yes(gap + 1, 0, b) >= MODEL.price_yes(gap, 0, b)


def test_exp_is_within_its_bound() -> None:
    for x_q58 in exponents():
        error_q58 = exp_neg(x_q58) - mp.exp(-mpf(x_q58) / ONE_Q58) * ONE_Q58
        assert mpf("-1.2") < error_q58 < mpf("0.2")


def test_ln_is_within_its_bound() -> None:
    for e_q58 in fractions():
        error_q62 = ln_1p(e_q58) - mp.log1p(mpf(e_q58) / ONE_Q58) * 2**62
        assert -3 < error_q62 < 1


def test_exp_and_ln_are_exact_at_their_ends() -> None:
    assert exp_neg(0) == ONE_Q58
    assert exp_neg(60 << 58) == 0
    assert ln_1p(0) == 0
    assert ln_1p(ONE_Q58) == int(mp.nint(mp.log(2) * 2**62))


def test_exp_never_grows_and_ln_never_falls_from_one_input_to_the_next() -> None:
    assert all(exp_neg(x_q58 + 1) <= exp_neg(x_q58) for x_q58 in exponents())
    assert all(ln_1p(e_q58 + 1) >= ln_1p(e_q58) for e_q58 in fractions())
