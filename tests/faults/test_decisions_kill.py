"""Two processes of a service, each killed by SIGKILL at every await of its work in turn: there is one effect on chain.

The first process decides at its next tick and is killed at its Nth await. The stand-by has no ticks: it resumes the
intent that the first left open, and is killed at its own Nth await. Then a new process with ticks is started.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from kit.decisions import (
    Scene,
)
from kit.replica import Replica
from kit.rpc_proxy import Proxy, drops
from kit.votes import add_market, complete_index
from kit.waiting import until
from zmart.market.types import MarketId, MarketState, VoteKind
from zmart.store import intents
from zmart.store.pool import Pool

EACH_SECOND, NEVER = "* * * * * *", "0 0 1 1 *"
MOST_AWAITS = 120
"""The most awaits that are tried."""
FEWEST_AWAITS = {"proposals": 50, "resolving": 15, "disputed": 28}
"""The fewest awaits of each kind of decision, at each of which a process must have been killed.

A finalization without a dispute has 15 to 17: the number of status requests depends on the chain. After them it depends
on the machine whether a process is killed at an await or the decision has ended before.
"""
END = {
    "aggregator": ["MarketCreated", "ProposalAggregated", "ProposalApproved"],
    "monitor": ["MarketFinalized"],
}


@dataclass
class Stage:
    """A database of its own with one market that is due for a decision, and the processes that decide."""

    scene: Scene
    pool: Pool
    service: str
    market: MarketId
    settings: dict[str, object]

    @classmethod
    async def of(cls, scene: Scene, service: str, market: MarketId, database_url: str) -> Stage:
        pool = await Pool.open(database_url, size=2, wait_s=30)
        await complete_index(pool, scene.chain.program.address)  # no indexer runs here
        settings: dict[str, object] = {
            "zmart_env": "local",
            "solana_rpc_url": scene.chain.rpc_url,
            "database_url": database_url,
            "backend_keypair_path": scene.chain.keys.path("backend"),
            "admin_keypair_path": scene.chain.keys.path("admin"),
            "min_proposal_votes": 1,
        }
        return cls(scene, pool, service, market, settings)

    async def index(self) -> None:
        """Write the rows of the market and its votes that an indexer and voters would have written."""
        account = await self.scene.account(self.market)
        address = self.scene.chain.program.addresses.market(self.market)
        await add_market(self.pool, self.market, address=address)
        here = Scene(self.scene.chain, self.scene.rpc, self.pool, self.scene.settings, self.scene.creator)
        await here.index(self.market)
        if account.state is MarketState.PROPOSED:
            await here.vote(self.market, yes=2)
        if account.state is MarketState.DISPUTED:
            await here.vote(self.market, 2, 1, VoteKind.DISPUTE)

    def replica(self, cron: str, die_at: int = 0, patience_s: float | None = 0.3) -> Replica:
        crons = {"aggregator_cron": cron, "monitor_cron": cron}
        return Replica(self.service, {**self.settings, **crons}, die_at=die_at, patience_s=patience_s)

    async def finished(self) -> bool:
        """Return whether the market is APPROVED or FINALIZED on chain and no intent is open."""
        state = await self.scene.state(self.market)
        if state not in (MarketState.APPROVED, MarketState.FINALIZED):
            return False
        counts = await intents.counts(self.pool)
        return sum(counts.values()) == sum(n for fate, n in counts.items() if fate.is_done)

    async def check(self) -> None:
        events = await self.scene.events(self.market)
        assert events[-len(END[self.service]) :] == END[self.service]
        assert len(events) == len(set(events)), events
        assert len(await self.scene.memos(self.market)) <= 1
        failing = "SELECT count(*) FROM market_work WHERE status = 'failing'"
        assert await self.pool.fetchval(failing) == 0

    async def run(self, die_at: int) -> int:
        """Run both processes until the market is decided; return how many of them were killed at an await."""
        first, second = self.replica(EACH_SECOND, die_at), self.replica(NEVER, die_at)
        try:
            await self.index()

            async def settled() -> bool:
                return not first.is_alive or await self.finished()

            await until(settled, within_s=30)
            assert first.is_alive or first.was_killed, first.process.exitcode
            # An intent that was not stored yet cannot be resumed by the stand-by: the first process is started again.
            second_result = self.replica(EACH_SECOND)
            try:
                await until(self.finished, within_s=30)
            finally:
                second_result.kill()
            await self.check()
            for each in (first, second):
                if each.awaits >= die_at:  # it has sent itself SIGKILL, and may be seen before it has ended
                    await each.ended()
                assert each.was_killed or each.awaits < die_at, f"it survived await {die_at} of {each.awaits}"
            return first.was_killed + second.was_killed
        finally:
            first.kill()
            second.kill()
            await self.pool.close()


async def proposals(scene: Scene, number: int) -> list[MarketId]:
    return [await scene.market() for _ in range(number)]


async def resolving(scene: Scene, number: int) -> list[MarketId]:
    markets = await scene.many_resolving(number)
    await scene.travel(3 * 86_400 + 120)
    return markets


async def disputed(scene: Scene, number: int) -> list[MarketId]:
    markets = await scene.many_resolving(number)
    await scene.dispute(markets)
    await scene.travel(3 * 86_400 + 120)
    return markets


MAKERS = [("aggregator", proposals), ("monitor", resolving), ("monitor", disputed)]
IDS = ["proposal", "resolution", "dispute"]


@pytest.mark.parametrize(("service", "make"), MAKERS[::2], ids=IDS[::2])
async def test_killed_at_two_awaits_there_is_one_effect(
    scene: Scene,
    service: str,
    make: Callable[[Scene, int], object],
    new_database: Callable[[str], str],
    migrated_template: str,
) -> None:
    points = random.Random(make.__name__).sample(range(6, 22), 2)
    markets = await make(scene, len(points))
    stages = [await Stage.of(scene, service, market, new_database(migrated_template)) for market in markets]
    died = await asyncio.gather(*(stage.run(at) for stage, at in zip(stages, points, strict=True)))
    assert sum(died) >= 2, died


@pytest.mark.slow
@pytest.mark.parametrize(("service", "make"), MAKERS, ids=IDS)
async def test_killed_at_every_await_there_is_one_effect(
    scene: Scene,
    service: str,
    make: Callable[[Scene, int], object],
    new_database: Callable[[str], str],
    migrated_template: str,
) -> None:
    markets = iter(await make(scene, MOST_AWAITS))
    died: dict[int, int] = {}
    lanes = 3

    async def one(die_at: int) -> None:
        stage = await Stage.of(scene, service, next(markets), new_database(migrated_template))
        try:
            died[die_at] = await stage.run(die_at)
        except AssertionError as problem:
            raise AssertionError(f"killed at await {die_at}: {problem}") from problem

    for start in range(1, MOST_AWAITS, lanes):
        await asyncio.gather(*(one(at) for at in range(start, start + lanes)))
        if not any(died[at] for at in range(start, start + lanes)):
            break  # no process has that many awaits
    else:
        raise AssertionError("there are more awaits than markets")
    points, deaths = sum(map(bool, died.values())), sum(died.values())
    first = min(at for at in died if died[at])
    survived = [at for at in died if at >= first and not died[at]]
    print(f"\n{service}: killed at {points} awaits, {deaths} processes, one effect each time")
    assert min(survived) - first >= FEWEST_AWAITS[make.__name__], f"a process survived an await: {died}"


@pytest.mark.parametrize(
    ("service", "make"), [pytest.param(*MAKERS[0], marks=pytest.mark.slow), MAKERS[1]], ids=IDS[:2]
)
async def test_a_stand_by_takes_over_within_ten_seconds(
    scene: Scene,
    service: str,
    make: Callable[[Scene, int], object],
    new_database: Callable[[str], str],
    migrated_template: str,
) -> None:
    """The first process is killed while it sends to an RPC that drops everything; the stand-by has no ticks."""
    (market,) = await make(scene, 1)
    stage = await Stage.of(scene, service, market, new_database(migrated_template))
    second = stage.replica(NEVER, 0, None)
    async with Proxy.before(scene.chain.rpc_url, drops) as void:
        stage.settings["solana_rpc_url"] = void.url
        first = stage.replica(EACH_SECOND, 0, None)
        try:
            await stage.index()

            async def signed() -> bool:
                return (
                    await stage.pool.fetchval("SELECT count(*) FROM intents WHERE signature IS NOT NULL") > 0
                )

            await until(signed, within_s=30)
            first.kill()
            killed_at = time.monotonic()
            await until(stage.finished, within_s=10)
            print(f"\n{service}: taken over and done {time.monotonic() - killed_at:.1f} s after the kill")
            await stage.check()
        finally:
            first.kill()
            second.kill()
            await stage.pool.close()
