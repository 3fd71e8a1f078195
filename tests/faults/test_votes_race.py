"""Votes that arrive while a tally is taken count in its round or in the next: none is lost, none counts twice."""

from __future__ import annotations

import asyncio
import random
from datetime import UTC, datetime

import pytest

from kit.decisions import Scene
from kit.votes import (
    add_onchain_vote,
    closing,
    vote_signed,
)
from kit.wallets import wallet
from zmart.errors import Conflict
from zmart.market.tally import Tally, parse_memo
from zmart.market.types import MarketId, VoteKind
from zmart.market.vote_entries import parse_entry
from zmart.proofs import merkle
from zmart.services.aggregator.service import Aggregator
from zmart.store import tallies
from zmart.store.pool import Pool
from zmart.votes.casting import AcceptedVote
from zmart.votes.tallying import take_tally
from zmart.votes.vote_log import read_log

WALLETS = 60


class Crowd:
    """Wallets that vote at random: by signed statement, on chain, or both; some twice."""

    def __init__(self, scene: Scene, market: MarketId, seed: int) -> None:
        self.scene, self.market, self.chance = scene, market, random.Random(seed)
        self.accepted: list[AcceptedVote] = []
        self.onchain: set[str] = set()

    async def vote(self, pool: Pool, number: int) -> None:
        program, authority = self.scene.chain.program.address, self.scene.chain.keys.backend
        kind, now = VoteKind.PROPOSAL, datetime.now(UTC)
        choice = self.chance.random() < 0.5
        if self.chance.random() < 0.15:
            await add_onchain_vote(pool, self.market, kind, wallet(number), choice)
            self.onchain.add(str(wallet(number).pubkey()))
        for _ in range(self.chance.choice([0, 1, 1, 1, 2])):
            try:
                self.accepted.append(
                    await vote_signed(
                        pool, self.market, wallet(number), choice, kind, now, program, authority
                    )
                )
            except Conflict:
                continue

    async def all_vote(self, pool: Pool) -> None:
        numbers = list(range(2_000, 2_000 + WALLETS))
        self.chance.shuffle(numbers)
        for start in range(0, WALLETS, 6):
            await asyncio.gather(*(self.vote(pool, number) for number in numbers[start : start + 6]))


def recount(entries: list[bytes]) -> Tally:
    chosen: dict[str, bool] = {}
    onchain: set[str] = set()
    for entry in map(parse_entry, entries):
        voter, is_onchain = entry.statement.wallet, entry.channel.value == "onchain"
        if is_onchain or voter not in onchain:
            chosen[voter] = entry.statement.vote
        if is_onchain:
            onchain.add(voter)
    return Tally(sum(chosen.values()), len(chosen) - sum(chosen.values()))


async def check(scene: Scene, crowd: Crowd) -> None:
    log = await read_log(scene.settings.require("database_url"), crowd.market)
    positions = {merkle.leaf_hash(entry).hex(): position for position, entry in enumerate(log)}
    assert len(positions) == len(log), "no entry twice"
    for cast in crowd.accepted:
        assert positions[cast.receipt.leaf_hash] == cast.receipt.index, "every receipt stands"
    rounds = list(await tallies.of_market(scene.pool, crowd.market))
    leaves = [merkle.leaf_hash(entry) for entry in log]
    roots = merkle.roots_at(leaves, [row.log_size for row in rounds])
    for row in rounds:
        assert row.log_root == roots[row.log_size]
        assert row.tally == recount(log[: row.log_size]), row
    sizes = [row.log_size for row in rounds]
    assert sizes == sorted(sizes)
    counted = "SELECT votes_for, votes_against FROM vote_counts WHERE market_id = $1"
    everything = (
        "SELECT count(*) FILTER (WHERE choice = 'for'), count(*) FILTER (WHERE choice = 'against') FROM counted_votes "
        "WHERE market_id = $1"
    )
    now = await scene.pool.fetchrow(counted, crowd.market)
    assert tuple(now) == tuple(await scene.pool.fetchrow(everything, crowd.market))
    last = rounds[-1]
    assert (last.tally.votes_for, last.tally.votes_against) == tuple(now)
    assert last.onchain == len(crowd.onchain)


async def race(scene: Scene, seed: int) -> int:
    """Have wallets vote while tallies are taken; return how many tallies were taken during the votes."""
    market = await scene.market()
    crowd = Crowd(scene, market, seed)
    voters = await Pool.open(scene.settings.require("database_url"), size=6, wait_s=30)
    voting = asyncio.create_task(crowd.all_vote(voters))

    async def take() -> None:
        async with scene.pool.transaction() as connection:
            await take_tally(
                connection, scene.chain.program.address, closing(market, VoteKind.PROPOSAL), 7_000
            )

    taken = 0
    while not voting.done():
        await asyncio.gather(take(), take())  # two aggregators
        taken += 2
    await voting
    await take()
    await voters.close()
    await check(scene, crowd)
    return taken


async def test_votes_and_tallies_at_once_agree(scene: Scene) -> None:
    assert await race(scene, 1) >= 4


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10, 30))
async def test_votes_and_tallies_at_once_agree_in_long_runs(scene: Scene, seed: int) -> None:
    assert await race(scene, seed) >= 4


async def test_what_the_chain_shows_is_what_the_log_proves_while_votes_pour_in(scene: Scene) -> None:
    """Two aggregators decide repeatedly while votes change the result; without an admin, no approval ends it."""
    market = await scene.market()
    crowd = Crowd(scene, market, 5)
    voters = await Pool.open(scene.settings.require("database_url"), size=6, wait_s=30)

    async def tick() -> None:
        async with scene.context(admin_keypair_path=None) as context:
            service = Aggregator(scene.settings, context, None)
            await scene.pool.execute("UPDATE market_work SET next_attempt_at = now()")
            await service.decide_due()
            await service.finish()

    await vote_signed(
        scene.pool,
        market,
        wallet(1_999),
        True,
        VoteKind.PROPOSAL,
        datetime.now(UTC),
        scene.chain.program.address,
        scene.chain.keys.backend,
    )
    await tick()
    voting = asyncio.create_task(crowd.all_vote(voters))
    while not voting.done():
        await asyncio.gather(tick(), tick())
    await voting
    await tick()
    await voters.close()
    log = await read_log(scene.settings.require("database_url"), market)
    memos = [parse_memo(memo) for memo in await scene.memos(market)]
    rounds = await tallies.of_market(scene.pool, market)
    assert [memo and memo.log_size for memo in memos] == [row.log_size for row in rounds]
    account = await scene.account(market)
    displayed = Tally(account.proposal_likes, account.proposal_dislikes)
    assert displayed == rounds[-1].tally == recount(log[: rounds[-1].log_size])
