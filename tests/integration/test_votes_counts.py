"""Tests that the running count of votes equals the counted votes after any writes, also by writers at once."""

from __future__ import annotations

import asyncio
import random

import pytest

from kit.votes import (
    NOW,
    add_market,
    add_onchain_vote,
    vote_signed,
)
from kit.waiting import until
from kit.wallets import address_of, market_id, wallet
from zmart.market.eligibility import Rule
from zmart.market.tally import Tally
from zmart.market.types import MarketId, VoteKind
from zmart.store import vote_rules, votes
from zmart.store.pool import Pool
from zmart.store.vote_rules import VotingTerms

MARKETS = [market_id(number) for number in (1, 2)]
_COUNTED = """
SELECT market_id, kind, count(*) FILTER (WHERE counts AND choice = 'for') AS votes_for,
       count(*) FILTER (WHERE counts AND choice = 'against') AS votes_against,
       count(*) FILTER (WHERE counts AND channel = 'session') AS unproven,
       count(*) FILTER (WHERE NOT counts) AS not_counted
FROM cast_votes GROUP BY market_id, kind ORDER BY market_id, kind
"""
_KEPT = """
SELECT market_id, kind, votes_for, votes_against, unproven, not_counted FROM vote_counts
WHERE votes_for + votes_against + not_counted > 0 ORDER BY market_id, kind
"""
_VOTE = """
INSERT INTO votes (market_id, kind, wallet, choice, proven, log_index) VALUES ($1, $2, $3, $4, $5, 0)
ON CONFLICT DO NOTHING
"""
_ONCHAIN = """
INSERT INTO onchain_votes (market_id, kind, wallet, choice, signature, slot, voted_at)
VALUES ($1, $2, $3, $4, $5, 7, $6)
ON CONFLICT (market_id, kind, wallet) DO UPDATE SET choice = excluded.choice
"""
_JUDGED = """
INSERT INTO vote_judgements (market_id, kind, wallet, opened_at, eligible) VALUES ($1, $2, $3, 0, $4)
ON CONFLICT (market_id, kind, wallet) DO UPDATE SET eligible = excluded.eligible
"""
_WAITS = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"


@pytest.fixture
async def pool(pool: Pool) -> Pool:
    for market in MARKETS:
        await add_market(pool, market)
    return pool


async def one_write(pool: Pool, chance: random.Random) -> None:
    """Write something that an indexer, a gateway, or an operator with psql may write."""
    market, kind = chance.choice(MARKETS), chance.choice(["proposal", "dispute"])
    voter, choice = address_of(wallet(chance.randrange(20))), chance.choice(["for", "against"])
    match chance.randrange(10):
        case 0 | 1 | 2:
            await pool.execute(_VOTE, market, kind, voter, choice, chance.random() < 0.5)
        case 3 | 4:
            await pool.execute(_ONCHAIN, market, kind, voter, choice, f"{chance.random()}", NOW)
        case 5:
            table = chance.choice(["votes", "onchain_votes"])
            await pool.execute(f"DELETE FROM {table} WHERE wallet = $1", voter)
        case 6 | 7:
            await pool.execute(_JUDGED, market, kind, voter, chance.random() < 0.7)
        case 8:
            rule = Rule.parse(chance.choice(["open", "staked;50000000", "staked;50000000"]))
            await vote_rules.fix(pool, MarketId(market), VoteKind(kind), VotingTerms(rule, 1))
        case _:
            table = chance.choice(["votes", "onchain_votes"])
            other = "CASE choice WHEN 'for' THEN 'against' ELSE 'for' END"
            await pool.execute(f"UPDATE {table} SET choice = {other} WHERE market_id = $1", market)


async def check(pool: Pool) -> None:
    stored = [tuple(row) for row in await pool.fetch(_KEPT)]
    assert stored == [tuple(row) for row in await pool.fetch(_COUNTED)]


@pytest.mark.parametrize("seed", range(3))
async def test_the_count_follows_every_write(pool: Pool, seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(60):
        await one_write(pool, chance)
        await check(pool)


async def test_the_two_channels_of_one_wallet_cannot_miss_each_other(pool: Pool) -> None:
    """A wallet's votes by both channels count once, though two transactions that do not see each other write them."""
    async with pool.acquire() as first, pool.acquire() as second:
        for number in range(10):
            voter = address_of(wallet(number))
            mine = first.transaction()
            await mine.start()
            await first.execute(_VOTE, MARKETS[0], "proposal", voter, "for", True)
            other = asyncio.create_task(
                second.execute(_ONCHAIN, MARKETS[0], "proposal", voter, "against", f"{number}", NOW)
            )
            await until(lambda: pool.fetchval(_WAITS))
            await mine.commit()
            await other
    await check(pool)
    assert (await votes.counts(pool, MARKETS[0]))[VoteKind.PROPOSAL] == Tally(0, 10)


@pytest.mark.parametrize("first", ["vote", "judgement", "rule"])
async def test_a_vote_and_its_judgement_cannot_miss_each_other(pool: Pool, first: str) -> None:
    """A1: a vote on chain counts once it is judged, whichever of vote, judgement and rule is committed first."""
    market, kind, voter = MARKETS[0], VoteKind.DISPUTE, address_of(wallet(1))
    staked = VotingTerms(Rule.parse("staked;50000000"), 1)
    if first != "rule":
        await vote_rules.fix(pool, market, kind, staked)
    vote = (_ONCHAIN, market, kind.value, voter, "for", "s", NOW)
    judged = (_JUDGED, market, kind.value, voter, True)
    order = [judged, vote] if first == "judgement" else [vote, judged]
    async with pool.acquire() as one, pool.acquire() as two:
        mine = one.transaction()
        await mine.start()
        await one.execute(*order[0])
        if first == "rule":
            other = asyncio.create_task(vote_rules.fix(two, market, kind, staked))
        else:
            other = asyncio.create_task(two.execute(*order[1]))
        await until(lambda: pool.fetchval(_WAITS))
        await mine.commit()
        await other
    if first == "rule":
        await check(pool)
        assert (await votes.counts(pool, market))[kind] == Tally(0, 0)
        await pool.execute(*judged)
    await check(pool)
    assert (await votes.counts(pool, market))[kind] == Tally(1, 0)


async def test_a_judgement_that_moves_the_count_is_a_message(pool: Pool) -> None:
    market, kind, voter = MARKETS[0], VoteKind.PROPOSAL, wallet(1)
    await vote_rules.fix(pool, market, kind, VotingTerms(Rule.parse("staked;50000000"), 1))
    await add_onchain_vote(pool, market, kind, voter, True)
    for eligible in (True, True, False):
        await pool.execute(_JUDGED, market, kind.value, address_of(voter), eligible)
    messages = "SELECT op, new_row -> 'tally' ->> 'for' FROM change_feed WHERE topic = 'onchain_votes'"
    answer = [tuple(row) for row in await pool.fetch(f'{messages} ORDER BY "offset"')]
    assert answer == [("created", "0"), ("updated", "1"), ("updated", "0")]


async def test_a_votes_message_says_the_count_with_it_in(pool: Pool) -> None:
    for number, vote in enumerate([True, True, False]):
        await vote_signed(pool, MARKETS[0], wallet(number), vote)
    await add_onchain_vote(pool, MARKETS[0], VoteKind.PROPOSAL, wallet(0), False)
    messages = "SELECT new_row -> 'tally' ->> 'for' FROM change_feed WHERE topic LIKE '%votes' ORDER BY 1"
    answer = [row[0] for row in await pool.fetch(messages.replace("ORDER BY 1", 'ORDER BY "offset"'))]
    assert answer == ["1", "2", "2", "1"]


async def test_one_statement_may_bring_and_take_any_number_of_votes(pool: Pool) -> None:
    """One statement may add or remove any number of votes, as a restored table or a late rule does.

    The query plan that the database made for one vote serves for all.
    """
    many = (
        "INSERT INTO {table} SELECT {columns} FROM generate_series(1, 20000) AS n"
        " CROSS JOIN LATERAL (SELECT lpad(n::text, 44, 'A') AS wallet,"
        " CASE n % 4 WHEN 0 THEN 'against' ELSE 'for' END AS choice) AS v"
    )
    market = f"'{MARKETS[0]}'"
    await pool.execute(_VOTE, MARKETS[0], "proposal", address_of(wallet(1)), "for", True)
    off_chain = f"gen_random_uuid(), {market}, 'proposal', wallet, choice, n % 10 > 0, NULL, NULL, n, now()"
    await pool.execute(many.format(table="votes", columns=off_chain))
    await check(pool)
    on_chain = f"{market}, 'proposal', wallet, 'against', n::text, n, now()"
    await pool.execute(many.format(table="onchain_votes", columns=on_chain))
    assert (await votes.counts(pool, MARKETS[0]))[VoteKind.PROPOSAL] == Tally(1, 20_000)
    await pool.execute("UPDATE onchain_votes SET choice = 'for' WHERE slot % 2 = 0")
    await pool.execute("DELETE FROM votes WHERE log_index > 10000")
    await pool.execute("DELETE FROM onchain_votes WHERE slot > 5000")
    await check(pool)
