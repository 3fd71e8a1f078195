"""Tests of arrays that are sent to PostgreSQL as text: they hold the given values, whatever these contain."""

from __future__ import annotations

import random

import pytest

from zmart.store import bulk
from zmart.store.pool import Pool

ALPHABET = "aZ09\"\\',{} ()\t\n\u00e9\u20ac\U0001f600NUL"


def random_texts(seed: int, number: int) -> list[str | None]:
    draw = random.Random(seed)
    texts = ["".join(draw.choices(ALPHABET, k=draw.randrange(12))) for _ in range(number)]
    return [None if draw.random() < 0.1 else text for text in texts]


@pytest.mark.parametrize(
    "values",
    [
        [],
        [""],
        [None],
        ["NULL", "null", None],
        ["plain", "also plain"],
        ['"', "\\", '\\"', "{}", "a,b", " a "],
        random_texts(1, 500),
        random_texts(2, 500),
    ],
)
async def test_texts_come_back_as_they_were(pool: Pool, values: list[str | None]) -> None:
    assert await pool.fetchval("SELECT $1::text::text[]", bulk.array("text", values)) == values


@pytest.mark.parametrize(
    ("array_type", "values"),
    [
        ("bigint", [0, -1, 2**63 - 1, -(2**63), None]),
        ("bigint", []),
        ("boolean", [True, False, None]),
        ("numeric", [2**64 - 1, None, 0]),
    ],
)
async def test_numbers_and_truths_come_back_as_they_were(
    pool: Pool, array_type: str, values: list[object]
) -> None:
    assert await pool.fetchval(f"SELECT $1::text::{array_type}[]", bulk.array(array_type, values)) == values
