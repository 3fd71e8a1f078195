"""Compute units and priority fees are chosen in one place, for our own transactions and for those of users."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from solders.hash import Hash
from solders.keypair import Keypair
from solders.message import MessageV0
from solders.system_program import TransferParams, transfer
from solders.transaction import VersionedTransaction

import zmart
from zmart.chain import compute_budget
from zmart.chain.compute_budget import (
    MAX_UNITS,
    UNKNOWN_UNITS,
    capped_price,
    raised_price,
    unit_limit,
    usual_price,
)
from zmart.errors import ChainError

_SOURCES = Path(zmart.__file__).parent
PAYER, OTHER = Keypair.from_seed(bytes(32)), Keypair.from_seed(bytes([1] * 32))
PAY = transfer(TransferParams(from_pubkey=PAYER.pubkey(), to_pubkey=OTHER.pubkey(), lamports=1))


class ReportedFees:
    """An RPC client that reports these recent priority fees; with None, each request fails."""

    def __init__(self, fees: list[int] | None) -> None:
        self.fees = fees
        self.asked: list[str] = []

    async def get_recent_prioritization_fees(self, addresses: list[str]) -> list[int]:
        self.asked = addresses
        if self.fees is None:
            raise ChainError("The RPC does not answer.")
        return self.fees


@pytest.mark.parametrize(
    ("used", "margin_percent", "extra", "limit"),
    [
        (100_000, 10, 0, 110_000),
        (99_999, 10, 0, 109_999),
        (100_000, 20, 2_000, 122_000),
        (MAX_UNITS, 10, 0, MAX_UNITS),
        (MAX_UNITS, 20, 2_000, MAX_UNITS),
        (0, 10, 0, UNKNOWN_UNITS),
    ],
    ids=[
        "a tenth",
        "rounded up",
        "a fifth and some",
        "at most the maximum",
        "the same with some",
        "unknown use",
    ],
)
def test_a_limit_is_above_the_use_and_within_the_chain_s(
    used: int, margin_percent: int, extra: int, limit: int
) -> None:
    assert unit_limit(used, margin_percent, extra) == limit


@pytest.mark.parametrize(
    ("fees", "price"), [([], 0), ([5], 5), ([7, 1, 9, 3], 9), ([0] * 3 + [100], 100), (None, 0)]
)
async def test_the_usual_price_is_the_75th_percentile_for_what_is_written(
    fees: list[int] | None, price: int
) -> None:
    rpc = ReportedFees(fees)
    assert await usual_price(rpc, [PAY]) == price
    assert rpc.asked == sorted([str(PAYER.pubkey()), str(OTHER.pubkey())])


def test_every_further_signing_offers_four_times_as_much() -> None:
    assert [raised_price(0, signing) for signing in (1, 2, 3)] == [0, 4_000, 16_000]
    assert [raised_price(50_000, signing) for signing in (1, 2, 3)] == [50_000, 200_000, 800_000]


@given(st.integers(0, 2**60), st.integers(1, MAX_UNITS), st.integers(0, 10**9))
def test_the_fee_that_a_transaction_states_is_the_one_that_was_capped(
    price: int, limit: int, most: int
) -> None:
    capped = capped_price(price, limit, most)
    assert capped <= price
    budget = compute_budget.instructions(limit, capped)
    message = MessageV0.try_compile(PAYER.pubkey(), [*budget, PAY], [], Hash.default())
    fee = compute_budget.fee_lamports(VersionedTransaction(message, [PAYER]))
    assert fee - compute_budget.SIGNATURE_LAMPORTS == -(-limit * capped // 1_000_000) <= most


def test_no_other_module_chooses_them() -> None:
    form = re.compile(r"solders\.compute_budget|get_recent_prioritization_fees\(\[|1_400_000|\* 1_000_000 //")
    found = {
        str(path.relative_to(_SOURCES)) for path in _SOURCES.rglob("*.py") if form.search(path.read_text())
    }
    assert found == {"chain/compute_budget.py"}
