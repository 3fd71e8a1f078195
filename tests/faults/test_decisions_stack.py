"""The whole stack: decisions while the indexer is stopped, and many markets' lives in a row (P1, P2, C1)."""

from __future__ import annotations

import asyncio
import multiprocessing
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from kit.local_stack import paused, stack_in
from zmart.local.demo import scenes_early as early
from zmart.local.demo import scenes_late as late
from zmart.local.demo.api import until
from zmart.local.demo.play import DISPUTE_HOURS, RESOLUTION_DELAY_HOURS, play
from zmart.local.demo.user import DemoUser
from zmart.local.demo.world import DemoWorld, MarketPlay
from zmart.market.types import MarketId, MarketState, VoteKind
from zmart.proofs.log_sources import from_api
from zmart.proofs.tally_evidence import gather
from zmart.proofs.verify_tally import verify_tally
from zmart.settings import Settings
from zmart.store import market_work
from zmart.store.pool import Pool

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    with stack_in(tmp_path_factory.mktemp("home")) as settings:
        yield settings


async def disputed(world: DemoWorld, market: MarketPlay) -> None:
    """Take a market through proposal, approval and resolution to its dispute, by the wallets of the demo."""
    users = world.users
    await early.fund(world)
    await early.sign_in(world)
    await early.create(world, market)
    await early.vote(world, market, "proposal", [[(user, "like") for user in users[:5]]])
    await early.decided(world, market)
    await early.activate(world, market)
    await late.travel(world, RESOLUTION_DELAY_HOURS)
    await late.resolve(world, market, users[10], True)
    await late.dispute(world, market, users[7])


async def vote_unheard(world: DemoWorld, market: MarketPlay, user: DemoUser, vote: bool) -> None:
    """Vote on a dispute by a transaction to the chain, without any service."""
    from zmart.local.chain.genesis import send
    from zmart.market.types import Wallet

    make = world.program.instructions.submit_dispute_vote(Wallet(user.wallet), MarketId(market.id), vote)
    await send(world.rpc, [make], [user.key])


async def test_a_dispute_is_not_decided_while_the_indexer_stands_still(stack: Settings) -> None:
    """P1: 3 wallets agree by statement; the indexer is stopped; 5 wallets disagree on chain; 73 h pass."""
    async with DemoWorld.open(stack) as world:
        market, users = world.overturned, world.users
        await disputed(world, market)
        await early.vote(world, market, "dispute", [[(user, "agree") for user in users[:3]]])
        pool = await Pool.open(stack.require("database_url"), size=1)
        try:
            with paused(stack, "indexer"):
                for user in users[3:8]:
                    await vote_unheard(world, market, user, False)
                await late.travel(world, DISPUTE_HOURS)
                [work] = await until(
                    lambda: market_work.of_market(pool, MarketId(market.id)), bool, "the decision waits"
                )
                assert work.status == "waiting: index"
                assert "the decision needs slot" in str(work.last_error)
                ticks = time.monotonic() + 10  # some ticks of the monitor, one every two seconds
                while time.monotonic() < ticks:
                    account, _ = await world.account(market)
                    assert account.state is MarketState.DISPUTED
                    await asyncio.sleep(0.2)
            await late.finalized(world, market, True)
        finally:
            await pool.close()
        account, _ = await world.account(market)
        assert (account.dispute_agree, account.dispute_disagree) == (3, 5)
        displayed = (await world.api.get(f"/api/votes/{market.id}"))["dispute_votes"]
        assert displayed == {"agrees": 3, "disagrees": 5, "not_counted": 0}
        evidence = await gather(world.rpc, world.program, MarketId(market.id))
        log = await from_api(world.api.base_url, MarketId(market.id))
        assert verify_tally(evidence, evidence.anchors[VoteKind.DISPUTE], log).holds


def _busy() -> None:
    while True:
        sum(range(10_000))


@contextmanager
def hog(processes: int) -> Iterator[None]:
    """Run that many processes within the block, each of which keeps one core busy."""
    context = multiprocessing.get_context("spawn")
    running = [context.Process(target=_busy, daemon=True) for _ in range(processes)]
    for process in running:
        process.start()
    try:
        yield
    finally:
        for process in running:
            process.kill()
            process.join()


def test_every_tally_of_many_lives_holds(stack: Settings) -> None:
    """P2, C1: in 20 demos in a row, three of them beside two busy processes, all checks of votes and balances hold."""
    for number in range(20):
        with hog(2 if number in (5, 10, 15) else 0):
            report = asyncio.run(play(stack))
        assert report.failed_step == "", f"demo {number}: {report.failed_step}"
        assert [check for check in report.books if not check.ok] == [], f"demo {number}"
        print(f"demo {number}: {report.seconds} s")
