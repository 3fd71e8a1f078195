"""Tests of the market monitor on a local chain: it finalizes each market once, at the chain's time and not before."""

from __future__ import annotations

import asyncio

import pytest

from kit import rows
from kit.decisions import Scene, zmart
from kit.services import running_service
from kit.votes import (
    NOW,
    add_market,
)
from kit.waiting import until
from kit.wallets import address_of, market_id
from zmart.chain.rpc_errors import TransientRpcError
from zmart.decisions.workers import run_job
from zmart.errors import Busy, ConfigError, Conflict
from zmart.market.tally import Tally, parse_memo
from zmart.market.types import ChainTime, MarketId, MarketState, VoteKind
from zmart.services import monitor
from zmart.services.monitor import metrics
from zmart.services.monitor.service import Monitor
from zmart.store import alerts, intents, market_work, tallies
from zmart.store.intent_claims import Claims
from zmart.store.intents import Action
from zmart.store.market_work import Job
from zmart.store.pool import Pool
from zmart.votes import vote_log

DAY_S = 86_400
HOUR_S = 3_600


async def tick(scene: Scene, **settings: object) -> None:
    async with scene.context(**settings) as context:
        service = Monitor(scene.with_settings(**settings), context)
        await service.finalize_due()
        await service.finish()


async def open_alerts(scene: Scene, needle: str) -> list[str]:
    return [alert.key.split(":")[0] for alert in await alerts.open_alerts(scene.pool) if needle in alert.key]


def lateness() -> tuple[float, float]:
    """Return how many markets this process finalized, and the sum of their lateness in seconds."""
    values = {s.name: s.value for m in metrics.lateness_seconds.collect() for s in m.samples}
    return values["zmart_monitor_lateness_seconds_count"], values["zmart_monitor_lateness_seconds_sum"]


async def test_an_undisputed_market_is_finalized_when_the_longer_window_is_over(scene: Scene) -> None:
    """Of two dispute windows, the setting's 48 hours and the program's 72 hours, the longer one must be over."""
    market = await scene.resolving()
    await scene.travel(2 * DAY_S + 120)
    await tick(scene)
    assert await scene.state(market) is MarketState.RESOLVING
    await scene.travel(DAY_S - 120)
    await tick(scene)
    assert await scene.state(market) is MarketState.RESOLVING
    before = lateness()
    await scene.travel(60)
    for _ in range(2):
        await tick(scene)
    account = await scene.account(market)
    assert (account.state, account.final_outcome, account.was_disputed) == (
        MarketState.FINALIZED,
        True,
        False,
    )
    assert (await scene.events(market)).count("MarketFinalized") == 1
    assert lateness()[0] == before[0] + 1
    assert 0 <= lateness()[1] - before[1] < 60


async def test_our_own_window_counts_when_it_is_the_longer_one(scene: Scene) -> None:
    market = await scene.resolving()
    await scene.travel(3 * DAY_S + 120)
    await tick(scene, dispute_window_hours=96)
    assert await scene.state(market) is MarketState.RESOLVING


@pytest.mark.parametrize("is_disputed", [False, True])
async def test_held_decisions_settle_nothing_and_an_alert_says_so_until_they_are_released(
    scene: Scene, is_disputed: bool
) -> None:
    """C23: with HOLD_DECISIONS nothing is finalized, and no vote is closed, so votes that are restored later count."""
    market = await (scene.disputed() if is_disputed else scene.resolving())
    before = await scene.state(market)
    if is_disputed:
        await scene.vote(market, 6, 4, VoteKind.DISPUTE)
    await scene.travel(3 * DAY_S + 60)
    for held in (True, False):
        async with scene.context() as context:
            service = Monitor(scene.with_settings(hold_decisions=held), context)
            await service._tick()
            await service.finish()
            readiness = await service.readiness()
        assert (readiness.ready, readiness.details["decisions_held"]) == (True, held)
        assert await scene.state(market) is (before if held else MarketState.FINALIZED)
        if held:
            assert await scene.pool.fetchval("SELECT count(*) FROM vote_closings") == 0
            assert await scene.pool.fetchval("SELECT count(*) FROM intents WHERE market_id = $1", market) == 0
        assert bool(await open_alerts(scene, "decisions-held:monitor")) is held


@pytest.mark.parametrize(("agree", "disagree", "outcome"), [(6, 4, False), (59, 41, True)])
async def test_a_dispute_is_settled_by_its_votes(
    scene: Scene, agree: int, disagree: int, outcome: bool
) -> None:
    """The proposed outcome is YES: 60 % that agree with the dispute turn it, 59 % do not."""
    market = await scene.disputed()
    await scene.vote(market, agree, disagree, VoteKind.DISPUTE)
    await scene.travel(72 * HOUR_S)
    await tick(scene)
    assert await scene.state(market) is MarketState.DISPUTED
    await scene.travel(60)
    for _ in range(2):
        await tick(scene)
    account = await scene.account(market)
    assert (account.state, account.final_outcome, account.was_disputed) == (
        MarketState.FINALIZED,
        outcome,
        True,
    )
    assert (account.dispute_agree, account.dispute_disagree) == (agree, disagree)
    head = await vote_log.head(scene.pool, market)
    [memo] = [parse_memo(text) for text in await scene.memos(market)]
    assert memo is not None
    closed_at = account.dispute_initiated_at + 72 * HOUR_S
    assert (memo.log_size, memo.log_root, memo.closed_at) == (head.size, head.root.hex(), closed_at)
    assert (await scene.events(market)).count("MarketFinalized") == 1


async def test_a_dispute_without_votes_is_left_and_alerts_until_somebody_votes(scene: Scene) -> None:
    market = await scene.disputed()
    await scene.travel(72 * HOUR_S + 60)
    await tick(scene)
    assert await scene.state(market) is MarketState.DISPUTED
    assert await open_alerts(scene, market) == ["waiting"]
    assert [w.status for w in await market_work.of_market(scene.pool, market)] == ["too few votes"]
    await scene.vote(market, 1, 0, VoteKind.DISPUTE)
    await scene.pool.execute("UPDATE market_work SET next_attempt_at = now()")
    await tick(scene)
    assert (await scene.account(market)).final_outcome is False


async def test_after_the_tally_of_a_dispute_voting_is_over(scene: Scene) -> None:
    market = await scene.disputed()
    await scene.vote(market, 1, 0, VoteKind.DISPUTE)
    await scene.travel(72 * HOUR_S + 60)
    await tick(scene)
    row = await tallies.latest(scene.pool, market, VoteKind.DISPUTE)
    assert row is not None
    assert (row.tally, row.round) == (Tally(1, 0), 1)
    with pytest.raises(Conflict, match="voting is over"):
        await scene.vote(market, 1, 0, VoteKind.DISPUTE, start=9_000)


async def test_a_market_that_was_disputed_is_never_finalized_by_itself(scene: Scene) -> None:
    """A market that was disputed and is RESOLVING again waits for a person: time would confirm the refused outcome.

    aggregate_dispute_votes, which others may send, puts a market back into that state.
    """
    market = await scene.disputed()
    trap = scene.chain.program.instructions.aggregate_dispute_votes(
        address_of(scene.chain.keys.backend), market, 9, 1
    )
    await scene.send([trap], scene.chain.keys.backend)
    await scene.index(market)
    await scene.travel(30 * DAY_S)
    await tick(scene)
    account = await scene.account(market)
    assert (account.state, account.was_disputed) == (MarketState.RESOLVING, True)
    assert await open_alerts(scene, market) == ["waiting"]
    assert await intents.recent(scene.pool, 10) == []
    await _a_person_finalizes_it_as_proposed(scene, market)


async def _a_person_finalizes_it_as_proposed(scene: Scene, market: MarketId) -> None:
    """Finalize the market as proposed by its id.

    The command for all due markets, and the command without --as-proposed, must leave it alone.
    """
    assert (await zmart(scene, "finalize", "--as-proposed", "--yes"))[0] == 1
    assert await scene.state(market) is MarketState.RESOLVING
    assert (await zmart(scene, "finalize", market))[0] == 0
    assert await scene.state(market) is MarketState.RESOLVING
    assert (await zmart(scene, "finalize", market, "--as-proposed", "--yes"))[0] == 0
    account = await scene.account(market)
    assert (account.state, account.final_outcome) == (MarketState.FINALIZED, True)


async def test_monitors_at_once_finalize_each_market_once(scene: Scene) -> None:
    markets = [await scene.resolving() for _ in range(2)]
    await scene.travel(3 * DAY_S + 60)
    await asyncio.gather(*(tick(scene) for _ in range(3)))
    await tick(scene)
    for market in markets:
        assert (await scene.events(market)).count("MarketFinalized") == 1
        assert await scene.state(market) is MarketState.FINALIZED


async def test_a_market_that_somebody_else_finalized_is_left_alone(scene: Scene) -> None:
    market = await scene.resolving()
    await scene.travel(3 * DAY_S + 60)
    finalize = scene.chain.program.instructions.finalize_market(address_of(scene.chain.keys.backend), market)
    await scene.send([finalize], scene.chain.keys.backend)
    await tick(scene)  # the index still says RESOLVING
    assert await intents.recent(scene.pool, 10) == []
    assert await open_alerts(scene, market) == []


async def test_the_service_notices_by_itself_that_time_has_moved(scene: Scene) -> None:
    market = await scene.resolving()
    service = await monitor.create(scene.with_settings(monitor_cron="* * * * * *"))
    async with running_service(service):
        await scene.travel(3 * DAY_S + 60)
        await until(lambda: scene.state(market), lambda state: state is MarketState.FINALIZED)
        assert service.health()["status"] == "ok"
        assert (await service.readiness()).ready
        await scene.index(market)
        await until(lambda: market_work.of_market(scene.pool, market), lambda rows: rows == [])


async def test_it_does_not_start_without_a_program_on_the_chain(scene: Scene) -> None:
    nowhere = "7h3gXfBfYFueFVLYyfL5Qo1QGsf4GQUfW96FKVgnUsJS"
    with pytest.raises(ConfigError, match="There is no program at"):
        await monitor.create(scene.with_settings(solana_program_id_core=nowhere))


async def test_what_is_due_is_found_by_indexes(pool: Pool) -> None:
    markets = [
        rows.market_fold(
            market_id(n),
            "FINALIZED" if n % 100 else "RESOLVING",
            address=f"{n:x>40}",
            resolution_proposed_at=n,
        )
        for n in range(1, 20_001)
    ]
    await rows.add_markets(pool, markets)
    await pool.execute("ANALYZE markets")
    plan = "\n".join(
        row[0] for row in await pool.fetch(f"EXPLAIN {market_work._FINALIZATIONS}", 5_000, 5_000, 100)
    )
    assert "markets_resolving" in plan
    assert "Seq Scan on markets" not in plan
    due = await market_work.finalizations_due(pool, ChainTime(5_000), ChainTime(5_000))
    assert [market.since for market in due] == list(range(100, 5_001, 100))


async def test_a_failing_market_waits_longer_each_time_and_others_go_first(pool: Pool) -> None:
    for number in (1, 2):
        await add_market(pool, market_id(number), "RESOLVING", proposed_at=NOW)
    first = await market_work.failed(pool, market_id(1), Job.FINALIZE, "x")
    second = await market_work.failed(pool, market_id(1), Job.FINALIZE, "x")
    third = await market_work.failed(pool, market_id(1), Job.FINALIZE, "y")
    assert [(f.attempts, f.same_error) for f in (first, second, third)] == [(1, False), (2, True), (3, False)]
    (work,) = await market_work.of_market(pool, market_id(1))
    assert work.last_attempt_at is not None
    assert (work.next_attempt_at - work.last_attempt_at).total_seconds() == 20
    at = ChainTime(int(NOW.timestamp()) + 1)
    assert [m.market_id for m in await market_work.finalizations_due(pool, at, at)] == [market_id(2)]
    for _ in range(30):
        await market_work.failed(pool, market_id(1), Job.FINALIZE, "x")
    (work,) = await market_work.of_market(pool, market_id(1))
    assert work.last_attempt_at is not None
    assert (work.next_attempt_at - work.last_attempt_at).total_seconds() == market_work.LONGEST_PAUSE_S


@pytest.mark.parametrize("outage", [TransientRpcError("The RPC hangs."), Busy("A lock.")], ids=repr)
async def test_the_pause_of_a_market_does_not_outlive_an_outage(pool: Pool, outage: Exception) -> None:
    """C6: after an outage, however long, the pause of a market is five seconds at most."""
    await add_market(pool, market_id(1), "RESOLVING", proposed_at=NOW)

    async def work_in_vain() -> None:
        raise outage

    for _ in range(12):
        assert not await run_job(pool, market_id(1), Job.FINALIZE, work_in_vain)
    (work,) = await market_work.of_market(pool, market_id(1))
    assert work.last_attempt_at is not None
    assert (work.next_attempt_at - work.last_attempt_at).total_seconds() <= 5


async def test_a_market_that_fails_with_other_words_each_time_raises_an_alert_too(pool: Pool) -> None:
    """A node that is behind says by how many slots: no two errors are the same, however long nothing is decided."""
    await add_market(pool, market_id(1), "RESOLVING", proposed_at=NOW)
    for behind in range(30, 35):
        assert await alerts.open_alerts(pool) == []

        async def work_in_vain(slots: int = behind) -> None:
            raise TransientRpcError(f"The RPC did not answer getBalance: Node is behind by {slots} slots.")

        assert not await run_job(pool, market_id(1), Job.FINALIZE, work_in_vain)
    (alert,) = await alerts.open_alerts(pool)
    assert alert.key == f"failing:finalize:{market_id(1)}"
    assert "behind by 34 slots" in alert.message


async def test_markets_without_progress_for_seven_days_are_found(pool: Pool) -> None:
    await add_market(pool, market_id(1), "PROPOSED")
    await add_market(pool, market_id(2), "DISPUTED", disputed_at=NOW)
    await add_market(pool, market_id(3), "ACTIVE")  # without an end date it may stay ACTIVE
    await add_market(pool, market_id(4), "FINALIZED")
    await add_market(pool, market_id(5), "PROPOSED")
    await market_work.note(pool, market_id(5), Job.PROPOSAL, "rejected")
    result = await market_work.stuck_markets(pool, ChainTime(int(NOW.timestamp()) + 1))
    assert [(stuck.market_id, stuck.state) for stuck in result] == [
        (market_id(1), MarketState.PROPOSED),
        (market_id(2), MarketState.DISPUTED),
    ]


async def test_the_command_waits_for_a_monitor_that_finalizes_the_market_already(scene: Scene) -> None:
    """The failure that is stored is from before: what the command says is the result of what is done now."""
    market = await scene.resolving()
    await scene.travel(3 * DAY_S + 60)
    await market_work.failed(scene.pool, market, Job.FINALIZE, "InsufficientFunds: send it SOL.", 3_600)
    plan = await intents.plan(scene.pool, market, Action.FINALIZE_MARKET, 0, {})
    async with Claims(scene.pool) as claims:
        async with claims.claim(plan.id) as claim:
            assert claim is not None
            command = asyncio.create_task(zmart(scene, "finalize", market))
            await asyncio.wait([command], timeout=6)
            assert not command.done(), command.result()
        status, output = await command
    assert status == 0, output
    assert "landed" in output
    assert await scene.state(market) is MarketState.FINALIZED
