"""Many voters are judged and counted at once, by indexes, and no wallet's balance is requested twice (A1)."""

from __future__ import annotations

import time

import pytest

from kit import rows
from kit.votes import (
    NOW,
    PROGRAM,
    add_market,
    closing,
)
from kit.wallets import market_id
from zmart.chain.program import Program
from zmart.market.fold_state import FoldedTrade
from zmart.market.tally import Tally
from zmart.market.types import ChainTime, VoteKind
from zmart.settings import Settings
from zmart.store import vote_judgements, vote_rules, votes
from zmart.store.pool import Pool
from zmart.votes.eligibility import Voters, terms_of
from zmart.votes.tallying import count_log

MARKET, KIND = market_id(1), VoteKind.DISPUTE
OPENED_AT = ChainTime(int(NOW.timestamp()))
# Invented wallets, as long as addresses.
_WALLETS = "SELECT n, lpad(n::text, 44, 'A') AS wallet FROM generate_series(1, $1::integer) AS n"
_LOG = f"""
INSERT INTO vote_log_entries (market_id, log_index, kind, wallet, choice, channel, entry, leaf_hash)
SELECT $2, n - 1, 'dispute', wallet, CASE n % 2 WHEN 0 THEN 'for' ELSE 'against' END, 'statement', '',
    decode(repeat('00', 32), 'hex') FROM ({_WALLETS}) AS w
"""
_NODES = """
INSERT INTO vote_log_nodes (market_id, level, node_index, hash)
SELECT $1, level, ($2::bigint >> level) - 1, decode(repeat('00', 32), 'hex')
FROM generate_series(0, 30) AS level WHERE ($2::bigint >> level) & 1 = 1
"""
_VOTES = f"""
INSERT INTO votes (market_id, kind, wallet, choice, proven, log_index)
SELECT $2, 'dispute', wallet, CASE n % 2 WHEN 0 THEN 'for' ELSE 'against' END, true, n - 1 FROM ({_WALLETS}) AS w
"""


@pytest.fixture
async def pool(pool: Pool) -> Pool:
    await add_market(pool, MARKET, "DISPUTED", disputed_at=NOW)
    return pool


def trades_of(voter: int) -> list[FoldedTrade]:
    """Return two trades of a voter; of each three voters one traded enough in time, one too little, one too late."""
    lamports = 1 if voter % 3 == 1 else 25_000_000
    at = OPENED_AT - 100 + (86_400 if voter % 3 == 2 else 0)
    wallet = f"{voter:A>44}"
    return [
        rows.trade_fold(
            MARKET,
            wallet,
            signature=f"{wallet}{k}",
            cost_lamports=lamports,
            slot=voter,
            index_in_block=k,
            traded_at=at,
        )
        for k in (1, 2)
    ]


async def fill(pool: Pool, number: int) -> None:
    await rows.add_trades(pool, [trade for n in range(1, number + 1) for trade in trades_of(n)])
    await pool.execute(_LOG, number, MARKET)
    await pool.execute("INSERT INTO vote_logs (market_id, size) VALUES ($1, $2)", MARKET, number)
    await pool.execute(_NODES, MARKET, number)
    await pool.execute(_VOTES, number, MARKET)
    await pool.execute("ANALYZE")


async def life(pool: Pool, number: int) -> None:
    settings = Settings(_env_file=None, vote_rule_disputes="staked:50000000")
    voters = Voters(pool, Program.from_settings(settings), [], settings)
    await vote_rules.fix(pool, MARKET, KIND, terms_of(settings, KIND))
    await fill(pool, number)
    assert (await votes.not_counted(pool, MARKET))[KIND] == number
    began = time.perf_counter()
    terms = await voters.judge_all(MARKET, KIND)
    judged_s = time.perf_counter() - began
    began = time.perf_counter()
    assert await voters.judge_all(MARKET, KIND) == terms
    resend_s = time.perf_counter() - began
    began = time.perf_counter()
    async with pool.transaction() as connection:
        counted = await count_log(connection, PROGRAM, closing(MARKET, KIND), terms)
    counted_s = time.perf_counter() - began
    eligible = Tally(
        sum(1 for n in range(1, number + 1) if n % 6 == 0), sum(1 for n in range(1, number + 1) if n % 6 == 3)
    )
    assert (counted.tally, counted.not_counted) == (eligible, number - eligible.total)
    assert (await votes.counts(pool, MARKET))[KIND] == eligible
    print(
        f"{number} voters judged in {judged_s:.2f} s, again in {resend_s:.2f} s, counted in {counted_s:.2f} s"
    )


async def test_two_thousand_voters_are_judged_and_counted_at_once(pool: Pool) -> None:
    await life(pool, 2_000)


@pytest.mark.slow
async def test_a_hundred_thousand_voters_are_judged_and_counted_at_once(pool: Pool) -> None:
    await life(pool, 100_000)


async def test_voters_are_judged_by_indexes(pool: Pool) -> None:
    """The sum of a voter's trades reads one range of an index, for any number of other trades."""
    await fill(pool, 3_000)
    for sql, values in (
        (vote_judgements.TRADED, ("A" * 43 + "7", OPENED_AT)),
        (vote_judgements.TRADED_OTHERWISE, (MARKET, KIND.value, OPENED_AT)),
    ):
        plan = "\n".join(row[0] for row in await pool.fetch(f"EXPLAIN {sql}", *values))
        assert "Seq Scan on trades" not in plan, plan


async def test_what_was_held_is_not_asked_again(pool: Pool) -> None:
    """Under the rule `funded`, a count of voters who are all judged needs no RPC; this test has none."""
    settings = Settings(_env_file=None, vote_rule_disputes="funded:5")
    voters = Voters(pool, Program.from_settings(settings), [], settings)
    await vote_rules.fix(pool, MARKET, KIND, terms_of(settings, KIND))
    await fill(pool, 100)
    await pool.execute(
        "INSERT INTO vote_judgements (market_id, kind, wallet, opened_at, eligible, held_lamports) "
        "SELECT market_id, kind, wallet, $1, true, 5 FROM votes", OPENED_AT,
    )  # fmt: skip
    await voters.judge_all(MARKET, KIND)
    assert (await votes.counts(pool, MARKET))[KIND].total == 100
