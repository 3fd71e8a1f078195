"""Test that the results of a wallet, summed in SQL, are the sums of its positions' values."""

from __future__ import annotations

from random import Random

import pytest

from kit import rows
from kit.gateway import NOW, add_market, address
from zmart.market.fold_state import PositionFold
from zmart.market.valuation import ClaimRule
from zmart.store import positions, users
from zmart.store.pool import Pool

_STATES = [("ACTIVE", None), ("DISPUTED", True), *(("FINALIZED", outcome) for outcome in (True, False, None))]
_AMOUNTS = (0, 1, 999_999_999, 10**9 + 1, 2**62 + 1)


@pytest.mark.parametrize("rule", ClaimRule)
async def test_results_are_the_sum_of_the_values(database_url: str, rule: ClaimRule) -> None:
    random, who, at = Random(7), address(3), rows.chain_time(NOW)
    pool = await Pool.open(database_url, size=1)
    try:
        for number in range(60):
            state, outcome = _STATES[number % len(_STATES)]
            key = await add_market(
                pool,
                number + 1,
                state,
                final_outcome=outcome,
                finalized_at=NOW if state == "FINALIZED" else None,
                price_e9=random.randrange(10**9 + 1),
                shares=(random.randrange(2**62), random.randrange(2)),
            )
            yes, no, cost_yes, cost_no, realized = random.choices(_AMOUNTS, k=5)
            claimed = state == "FINALIZED" and random.random() < 0.5
            position = PositionFold(
                market_id=key, wallet=who, shares_yes=yes, shares_no=no, total_invested=cost_yes, trades_count=1,
                has_claimed=claimed, cost_basis_yes=0 if claimed else cost_yes,
                cost_basis_no=0 if claimed else cost_no, realized_pnl_lamports=realized - 10**9, first_trade_at=at,
                last_trade_at=at, updated_slot=1,
            )  # fmt: skip
            await rows.add_position(pool, position)
        await pool.execute("UPDATE markets SET current_liquidity = shares_yes / 3 + 1")
        held = await positions.of_wallet(pool, who, 100)
        results = await users.results(pool, who, rule)
        claims = await positions.claimable(pool, who, rule, 100)
    finally:
        await pool.close()
    settled = [row for row in held if row.state == "FINALIZED"]
    assert len(held) == 60
    assert results.realized == sum(row.value(rule).realized for row in held)
    assert results.unrealized == sum(row.value(rule).unrealized for row in held)
    assert results.current_value == sum(row.value(rule).current for row in held)
    assert results.cost_basis == sum(row.value(rule).basis for row in held)
    assert results.open_positions == len([row for row in held if row.is_open])
    assert results.settled == len(settled)
    by_market = {row.market_id: row.value(rule).claimable for row in held}
    assert [row.payout(rule) for row in claims] == sorted(filter(None, by_market.values()), reverse=True)
    assert all(row.payout(rule) == by_market[row.market_id] for row in claims)
    assert results.won == len([row for row in settled if row.value(rule).result > 0])
