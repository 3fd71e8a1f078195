"""Tests of the vote aggregator on a local chain: it records counts with proof, approves and rejects, each once."""

from __future__ import annotations

import asyncio
import random
from unittest.mock import AsyncMock

import httpx
import pytest
import redis
from solders.keypair import Keypair

from kit import rows
from kit.decisions import (
    Scene,
)
from kit.services import running_service
from kit.votes import closing as closed_by_a_count
from kit.waiting import until
from kit.wallets import address_of
from zmart.chain.judge import Dead, Live, Seen, Verdict
from zmart.chain.sender import Outcome
from zmart.chain.wallet import backend_keypair
from zmart.decisions import execution
from zmart.decisions.context import DecisionContext
from zmart.decisions.workers import clear_finished
from zmart.errors import ChainError, ConfigError, Conflict
from zmart.market.tally import Tally, parse_memo
from zmart.market.types import Bps, ChainTime, MarketId, MarketState, Signature, Slot, VoteKind
from zmart.ops.probes import Probes
from zmart.proofs.tally_evidence import gather
from zmart.proofs.verify_tally import Verdict as Finding
from zmart.proofs.verify_tally import verify_tally
from zmart.services import aggregator
from zmart.services.aggregator import proposals
from zmart.services.aggregator.service import Aggregator
from zmart.store import alerts, intents, market_work, tallies, vote_closings, vote_lists, votes
from zmart.store.intents import Action, IntentRow, IntentState, Journal
from zmart.votes import vote_log
from zmart.votes.closings import close_by_tally
from zmart.votes.tallying import take_tally
from zmart.votes.vote_log import read_log


class Killed(BaseException):
    """The exception that stands for a killed process: no handler of Exception catches it."""


async def tick(scene: Scene, **settings: object) -> None:
    """Run one tick of the aggregator with a context of its own, as one process does, and wait for its work to end."""
    async with scene.context(**settings) as context:
        service = Aggregator(scene.with_settings(**settings), context, None)
        await service.decide_due()
        await service.finish()


async def work_of(scene: Scene, market_id: MarketId) -> list[str]:
    return [work.status for work in await market_work.of_market(scene.pool, market_id)]


async def open_alerts(scene: Scene, market_id: MarketId) -> list[str]:
    return [a.key.split(":")[0] for a in await alerts.open_alerts(scene.pool) if market_id in a.key]


async def test_votes_over_the_threshold_are_recorded_with_their_root_and_approved(scene: Scene) -> None:
    market = await scene.market()
    await scene.vote(market, yes=7, no=3)
    await tick(scene)
    account = await scene.account(market)
    assert account.state is MarketState.APPROVED
    assert (account.proposal_likes, account.proposal_dislikes) == (7, 3)
    head = await vote_log.head(scene.pool, market)
    [memo] = [parse_memo(text) for text in await scene.memos(market)]
    assert memo is not None
    assert (memo.log_size, memo.log_root, memo.rule) == (10, head.root.hex(), "open")
    assert await scene.events(market) == ["MarketCreated", "ProposalAggregated", "ProposalApproved"]
    assert {i.state for i in await intents.recent(scene.pool, 10)} == {IntentState.LANDED}


async def test_below_the_threshold_nothing_is_sent(scene: Scene) -> None:
    market = await scene.market()
    await scene.vote(market, yes=69, no=31)
    await tick(scene)
    assert await scene.events(market) == ["MarketCreated"]
    assert await tallies.latest(scene.pool, market, VoteKind.PROPOSAL) is None
    await scene.vote(market, yes=4, start=5_000)
    await tick(scene)
    assert (await scene.account(market)).proposal_total_votes == 104
    assert await scene.state(market) is MarketState.APPROVED


async def test_too_few_votes_are_not_enough_however_they_agree(scene: Scene) -> None:
    market = await scene.market()
    await scene.vote(market, yes=2)
    await tick(scene, min_proposal_votes=3)
    assert await scene.events(market) == ["MarketCreated"]


async def test_without_the_admin_key_the_counts_are_recorded_and_a_person_is_asked(scene: Scene) -> None:
    market = await scene.market()
    await scene.vote(market, yes=1)
    for _ in range(2):
        await tick(scene, admin_keypair_path=None)
    assert await scene.events(market) == ["MarketCreated", "ProposalAggregated"]
    assert await work_of(scene, market) == ["awaiting admin"]
    assert await open_alerts(scene, market) == ["waiting"]


async def test_a_vote_that_turns_the_verdict_is_recorded_before_anybody_approves(scene: Scene) -> None:
    market = await scene.market()
    await scene.vote(market, yes=1)
    await tick(scene, admin_keypair_path=None)
    await scene.vote(market, yes=0, no=1, start=5_000)
    await scene.pool.execute("UPDATE market_work SET next_attempt_at = now()")
    await tick(scene)
    account = await scene.account(market)
    assert account.state is MarketState.PROPOSED
    assert (account.proposal_likes, account.proposal_dislikes) == (1, 1)
    rounds = [(t.round, t.tally, t.passed) for t in await tallies.of_market(scene.pool, market)]
    assert rounds == [(1, Tally(1, 0), True), (2, Tally(1, 1), False)]


async def test_an_old_failing_proposal_is_recorded_once_and_rejected(scene: Scene) -> None:
    market = await scene.market()
    await scene.vote(market, yes=1, no=1)
    await scene.travel(7 * 86_400)
    for _ in range(2):
        await tick(scene)
    assert await scene.events(market) == ["MarketCreated", "ProposalAggregated"]
    assert await work_of(scene, market) == ["rejected"]
    with pytest.raises(Conflict, match="voting is over"):
        await scene.vote(market, yes=1, start=5_000)


async def test_counts_that_somebody_else_overwrote_are_recorded_again(scene: Scene) -> None:
    market = await scene.market()
    await scene.vote(market, yes=2)
    await tick(scene, admin_keypair_path=None)
    keys = scene.chain.keys
    overwrite = scene.chain.program.instructions.aggregate_proposal_votes(
        address_of(keys.backend), market, 9, 9
    )
    await scene.send([overwrite], keys.backend)
    await scene.pool.execute("UPDATE intents SET updated_at = now() - interval '2 minutes'")
    await scene.pool.execute("UPDATE market_work SET next_attempt_at = now()")
    await tick(scene)
    assert (await scene.account(market)).proposal_likes == 2
    assert await scene.state(market) is MarketState.APPROVED


async def test_two_aggregators_at_once_produce_one_effect(scene: Scene) -> None:
    markets = [await scene.market() for _ in range(3)]
    for market in markets:
        await scene.vote(market, yes=3)
    await asyncio.gather(*(tick(scene) for _ in range(3)))
    await tick(scene)
    for market in markets:
        assert await scene.events(market) == ["MarketCreated", "ProposalAggregated", "ProposalApproved"]


@pytest.mark.parametrize("seed", range(4))
async def test_killed_at_any_step_it_resumes_with_one_effect(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """However often the process is killed before or after a write of its journal, the proposal is approved once."""
    chance, kills = random.Random(seed), 0
    real = Journal._write

    async def dying(journal: Journal, *arguments: object) -> None:
        nonlocal kills
        fate = chance.random()
        kills += fate < 0.5
        if fate < 0.25:
            raise Killed
        await real(journal, *arguments)  # type: ignore[arg-type]
        if fate < 0.5:
            raise Killed

    market = await scene.market()
    await scene.vote(market, yes=3)
    monkeypatch.setattr(Journal, "_write", dying)
    for _ in range(30):
        await tick(scene)
        if await scene.state(market) is MarketState.APPROVED:
            break
    monkeypatch.undo()
    await tick(scene)
    assert kills > 0
    assert await scene.events(market) == ["MarketCreated", "ProposalAggregated", "ProposalApproved"]


async def test_a_broken_market_holds_up_nobody_and_alerts_the_second_time(scene: Scene) -> None:
    broken, sound = MarketId("ff" * 32), await scene.market()
    await rows.copy_market(
        scene.pool, sound, broken, address=str(Keypair().pubkey()), created_at=ChainTime(1_577_836_800)
    )
    await scene.vote(sound, yes=1)
    await tick(scene)
    assert await scene.state(sound) is MarketState.APPROVED
    assert await open_alerts(scene, broken) == []
    await scene.pool.execute("UPDATE market_work SET next_attempt_at = now()")
    await tick(scene)
    (work,) = await market_work.of_market(scene.pool, broken)
    assert (work.status, work.attempts) == ("failing", 2)
    assert "no account" in str(work.last_error)
    assert await open_alerts(scene, broken) == ["failing"]


async def test_the_service_decides_by_its_schedule_and_answers_its_clients(
    scene: Scene, redis_url: str
) -> None:
    passing, pending = await scene.market(), await scene.market()
    await scene.vote(passing, yes=1)
    await scene.vote(pending, yes=1, no=2)
    settings = scene.with_settings(aggregator_cron="* * * * * *", redis_url=redis_url)
    settings = type(settings)(
        _env_file=None, **settings.model_dump(exclude={"redis_url"}), redis_url=redis_url
    )
    async with running_service(await aggregator.create(settings)) as service:
        await until(lambda: scene.state(passing), lambda state: state is MarketState.APPROVED)
        transport = httpx.ASGITransport(Probes(service))
        async with httpx.AsyncClient(transport=transport, base_url="http://aggregator") as client:
            health = (await client.get("/health")).json()
            assert (health["status"], health["service"]) == ("ok", "zmart-vote-aggregator")
            assert (await client.get("/ready")).json()["ready"]
            stats = (await client.get("/api/stats")).json()
            assert stats.pop("timestamp").endswith("Z")
            assert set(stats) == {"proposalVoteSets", "disputeVoteSets", "totalPendingVotes"}
            assert (await client.get("/api/other")).status_code == 404
            assert (await client.post("/api/stats")).status_code == 405
        with redis.Redis.from_url(redis_url, decode_responses=True) as client:

            async def cached() -> dict[str, str]:
                return await asyncio.to_thread(client.hgetall, f"votes:proposal:{pending}")

            await until(cached)
            fields = await cached()
            fields.pop("updated_at")
            assert fields == {"for": "1", "against": "2", "total": "3", "bps": "3333"}


async def test_what_an_operator_asked_for_and_a_crash_left_open_is_brought_to_its_end(scene: Scene) -> None:
    market = await scene.market()
    await intents.plan(scene.pool, market, Action.CANCEL_MARKET, 0, {})
    await scene.pool.execute("UPDATE intents SET updated_at = now() - interval '2 minutes'")
    async with running_service(await aggregator.create(scene.with_settings(aggregator_cron="* * * * * *"))):
        await until(lambda: scene.state(market), lambda state: state is MarketState.CANCELLED)
    assert {i.state for i in await intents.recent(scene.pool, 10)} == {IntentState.LANDED}


async def left_open(scene: Scene) -> tuple[MarketId, IntentRow]:
    """Return a market whose 7 of 10 likes are recorded, and the intent of an operator's approval that was not sent."""
    market = await scene.market()
    await scene.vote(market, yes=7, no=3)
    await tick(scene, admin_keypair_path=None)
    return market, await intents.plan(scene.pool, market, Action.APPROVE_PROPOSAL, 0, {})


async def test_an_operators_approval_that_was_left_open_is_sent_while_the_votes_allow_it(
    scene: Scene,
) -> None:
    market, intent = await left_open(scene)
    row = await tallies.latest(scene.pool, market, VoteKind.PROPOSAL)
    async with scene.context() as context:
        assert await execution.resume(context, intent)
    assert await scene.state(market) is MarketState.APPROVED
    closing = await vote_closings.find(scene.pool, market, VoteKind.PROPOSAL)
    assert closing is not None
    assert row is not None
    assert (closing.closed_at, closing.log_size, closing.voting_over) == (row.closed_at, 10, True)


async def test_an_operators_approval_stays_open_while_its_votes_are_not_counted_on_chain(
    scene: Scene,
) -> None:
    """It is no verdict of the votes that no count of them has landed, or that a node does not show it yet."""
    market = await scene.market()
    await scene.vote(market, yes=7, no=3)
    intent = await intents.plan(scene.pool, market, Action.APPROVE_PROPOSAL, 0, {})
    async with scene.context() as context:
        assert not await execution.resume(context, intent)
    assert (await intents.one(scene.pool, intent.id)).state is IntentState.PLANNED
    assert await open_alerts(scene, market) == []
    await tick(scene, admin_keypair_path=None)
    async with scene.context() as context:
        assert await execution.resume(context, intent)
    assert await scene.state(market) is MarketState.APPROVED


async def test_an_operators_approval_that_was_left_open_is_not_sent_against_the_votes(scene: Scene) -> None:
    """90 wallets vote against while it waits, such as for an RPC. It is closed, and an alert says why until the market
    is decided or the approval is requested again."""
    market, intent = await left_open(scene)
    await scene.vote(market, yes=0, no=90, start=5_000)
    await market_work.without_pause(scene.pool, market)
    await scene.pool.execute("UPDATE intents SET updated_at = now() - interval '2 minutes'")
    async with running_service(await aggregator.create(scene.with_settings(aggregator_cron="0 0 1 1 *"))):
        await until(
            lambda: intents.one(scene.pool, intent.id), lambda after: after.state is IntentState.FAILED
        )
        await until(lambda: work_of(scene, market), lambda work: work == [])
    after = await intents.one(scene.pool, intent.id)
    assert "with now 7 for and 93 against they do not approve" in str(after.error)
    assert "ProposalApproved" not in await scene.events(market)
    assert await open_alerts(scene, market) == ["waiting", "approval refused"]
    await clear_finished(scene.pool)
    assert await open_alerts(scene, market) == ["approval refused"]
    await intents.reopen(scene.pool, intent.id)
    await clear_finished(scene.pool)
    assert await open_alerts(scene, market) == []
    await scene.vote(market, yes=0, no=1, start=9_000)  # voting goes on


@pytest.mark.parametrize("verdict", [Live(), Seen(Slot(1), None), Seen(Slot(1), "refused"), Dead(Slot(1))])
async def test_a_refused_approval_stays_open_while_its_transaction_may_land(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, verdict: Verdict
) -> None:
    """An effect that may be on its way is never called failed. It is not sent again either."""
    market, intent = await left_open(scene)
    async with scene.pool.acquire() as connection:
        journal = Journal(connection)
        await journal.save_signed(str(intent.id), Signature("1" * 64), b"never sent", 1)
        await journal.mark_sent(str(intent.id), Signature("1" * 64))
    await scene.vote(market, yes=0, no=90, start=5_000)
    monkeypatch.setattr(execution, "judge", AsyncMock(return_value=verdict))
    async with scene.context() as context:
        assert not await execution.resume(context, await intents.one(scene.pool, intent.id))
    may_land = verdict in (Live(), Seen(Slot(1), None))
    after = await intents.one(scene.pool, intent.id)
    assert after.state is (IntentState.SENT if may_land else IntentState.FAILED)
    assert ("approval refused" in await open_alerts(scene, market)) is not may_land


async def test_a_market_that_the_admin_approved_with_a_wallet_is_closed_by_the_tally_that_decided(
    scene: Scene,
) -> None:
    """INV-91: 2 votes came after the tally of 10. The counts are 10, and so are the votes that are not late."""
    market, kind = await scene.market(), VoteKind.PROPOSAL
    await scene.vote(market, yes=7, no=3)
    await tick(scene, admin_keypair_path=None)
    await scene.vote(market, yes=0, no=2, start=5_000)
    keys = scene.chain.keys
    approval = scene.chain.program.instructions.approve_proposal(address_of(keys.admin), market)
    await scene.send([approval], keys.admin)
    await index_decided(scene, market)
    await clear_finished(scene.pool)  # as the monitor's tick does, which may come first
    await tick(scene)
    row, closing = (
        await tallies.latest(scene.pool, market, kind),
        await vote_closings.find(scene.pool, market, kind),
    )
    assert row is not None
    assert closing is not None
    assert (closing.closed_at, closing.log_size, closing.voting_over) == (row.closed_at, 10, True)
    listed = await vote_lists.of_market(scene.pool, market, kind, 100)
    counted = (await votes.counts(scene.pool, market))[kind]
    assert (counted.total, sum(not vote.late for vote in listed), len(listed)) == (10, 10, 12)
    assert await market_work.unclosed_proposals(scene.pool) == []


async def test_a_market_that_the_admin_cancelled_is_closed_by_the_tally_that_its_account_records(
    scene: Scene,
) -> None:
    """A second count that did not reach the chain before the market was cancelled is not what the account shows."""
    market, kind = await scene.market(), VoteKind.PROPOSAL
    await scene.vote(market, yes=1)
    await tick(scene, admin_keypair_path=None)
    first = await tallies.latest(scene.pool, market, kind)
    await scene.vote(market, yes=0, no=1, start=5_000)
    async with scene.pool.transaction() as connection:
        await take_tally(connection, scene.chain.program.address, closed_by_a_count(market, kind), Bps(7_000))
    keys = scene.chain.keys
    await scene.send(
        [scene.chain.program.instructions.cancel_market(address_of(keys.admin), market)], keys.admin
    )
    await index_decided(scene, market)
    await tick(scene)
    closing = await vote_closings.find(scene.pool, market, kind)
    assert first is not None
    assert closing is not None
    assert (closing.closed_at, closing.log_size, closing.voting_over) == (first.closed_at, 1, True)


async def test_an_index_that_shows_a_decision_which_the_chain_does_not_closes_no_vote(scene: Scene) -> None:
    """A delivery with the webhook's secret may say that a market is approved: its account is the judge."""
    market, kind = await scene.market(), VoteKind.PROPOSAL
    await scene.vote(market, yes=7, no=3)
    await tick(scene, admin_keypair_path=None)
    await rows.change_market(
        scene.pool, market, state=MarketState.APPROVED, proposal_likes=7, proposal_dislikes=3
    )
    assert await market_work.unclosed_proposals(scene.pool) == [market]
    await market_work.without_pause(scene.pool, market)
    await tick(scene, admin_keypair_path=None)
    assert await vote_closings.find(scene.pool, market, kind) is None


async def index_decided(scene: Scene, market: MarketId) -> None:
    """Write the state and the recorded counts of a market that has left PROPOSED, as the indexer would."""
    account = await scene.account(market)
    await rows.change_market(
        scene.pool, market, state=account.state, proposal_likes=account.proposal_likes,
        proposal_dislikes=account.proposal_dislikes, proposal_aggregated_at=account.created_at,
    )  # fmt: skip


async def test_a_vote_over_the_threshold_wakes_it_at_once(scene: Scene) -> None:
    market = await scene.market()
    settings = scene.with_settings(aggregator_cron="0 0 1 1 *", aggregate_on_threshold=True)
    async with running_service(await aggregator.create(settings)):
        listens = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'LISTEN%zmart_feed%'"
        await until(lambda: scene.pool.fetchval(listens))
        await scene.vote(market, yes=1)
        await until(lambda: scene.state(market), lambda state: state is MarketState.APPROVED)


async def test_it_does_not_start_with_a_key_that_globalconfig_does_not_name(scene: Scene) -> None:
    path = scene.chain.keys.path("faucet")
    with pytest.raises(ConfigError, match=r"backend key is .* GlobalConfig names"):
        await aggregator.create(scene.with_settings(backend_keypair_path=path))
    with pytest.raises(ConfigError, match=r"admin key is .* GlobalConfig names"):
        await aggregator.create(scene.with_settings(admin_keypair_path=path))
    with pytest.raises(ConfigError, match="SOLANA_RPC_URL"):
        await aggregator.create(scene.with_settings(solana_rpc_url=""))
    assert backend_keypair(scene.settings).pubkey() == scene.chain.keys.backend.pubkey()


async def test_held_decisions_send_nothing_and_an_alert_says_so_until_they_are_released(scene: Scene) -> None:
    """C23: with HOLD_DECISIONS, as after a restore, the aggregator sends nothing and an alert says so.

    After a restore some votes may be missing.
    """
    market = await scene.market()
    await scene.vote(market, yes=7)
    for held, expected in ((True, ["MarketCreated"]), (False, ["ProposalAggregated", "ProposalApproved"])):
        async with scene.context() as context:
            service = Aggregator(scene.with_settings(hold_decisions=held), context, None)
            await service._tick()
            await service.finish()
            readiness = await service.readiness()
        assert (readiness.ready, readiness.details["decisions_held"]) == (True, held)
        assert (await scene.events(market))[-len(expected) :] == expected
        keys = [alert.key for alert in await alerts.open_alerts(scene.pool)]
        assert ("decisions-held:aggregator" in keys) is held


async def test_a_clock_that_lags_takes_no_later_vote_out_of_the_count_that_holds(scene: Scene) -> None:
    """The log keeps the votes on chain of earlier rounds: a later round never closes before them."""
    market, voter = await scene.market(), await scene.rich()
    lagging = await scene.rpc.get_clock()
    await scene.travel(10)
    build, kind = scene.chain.program.instructions, VoteKind.PROPOSAL
    await scene.send([build.submit_proposal_vote(address_of(voter), market, True)], voter)
    await scene.index_votes(market)
    await scene.vote(market, yes=6, no=2)
    await tick(scene, admin_keypair_path=None)
    first = await tallies.latest(scene.pool, market, kind)
    await scene.vote(market, yes=0, no=7, start=5_000)
    await market_work.without_pause(scene.pool, market)
    async with scene.context() as context:
        context.rpc.get_clock = AsyncMock(return_value=lagging)  # type: ignore[method-assign]
        service = Aggregator(scene.settings, context, None)
        await service.decide_due()
        await service.finish()
    row = await tallies.latest(scene.pool, market, kind)
    assert first is not None
    assert row is not None
    assert (row.round, row.tally, row.onchain) == (2, Tally(7, 9), 1)
    assert row.closed_at >= first.closed_at
    evidence = await gather(scene.rpc, scene.chain.program, market)
    log = await read_log(scene.settings.require("database_url"), market)
    report = verify_tally(evidence, evidence.anchors[kind], log)
    assert report.holds, [f.text for f in report.findings if f.verdict is Finding.BROKEN]


async def test_a_node_that_lags_reopens_no_vote_whose_approval_is_on_its_way(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A node that does not show the recorded counts yet is no reason to take further votes: the approval may land."""
    market, kind = await scene.market(), VoteKind.PROPOSAL
    await scene.vote(market, yes=7, no=3)
    stale = await scene.account(market)
    with monkeypatch.context() as patched:
        sent = execution.execute

        async def cut_off(context: DecisionContext, intent: IntentRow) -> Outcome | None:
            if intent.action is Action.APPROVE_PROPOSAL:  # it was sent, and the RPC fails before it is judged
                raise ChainError("The RPC does not answer.")
            return await sent(context, intent)

        patched.setattr(proposals, "execute", cut_off)
        await tick(scene)
    closing = await vote_closings.find(scene.pool, market, kind)
    assert closing is not None
    assert closing.voting_over
    await market_work.without_pause(scene.pool, market)
    with monkeypatch.context() as patched:
        patched.setattr(DecisionContext, "market", AsyncMock(return_value=stale))
        await tick(scene)
    assert await vote_closings.find(scene.pool, market, kind) == closing
    with pytest.raises(Conflict, match="voting is over"):
        await scene.vote(market, yes=0, no=1, start=5_000)
    await market_work.without_pause(scene.pool, market)
    await tick(scene)
    assert await scene.state(market) is MarketState.APPROVED


async def test_a_count_that_was_overtaken_leaves_a_final_closing(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process may close the vote finally, to approve, while a count waits for the index: it stays closed."""
    market, kind = await scene.market(), VoteKind.PROPOSAL
    await scene.vote(market, yes=7, no=3)
    await tick(scene, admin_keypair_path=None)
    row = await tallies.latest(scene.pool, market, kind)
    assert row is not None
    await scene.vote(market, yes=0, no=7, start=5_000)
    await market_work.without_pause(scene.pool, market)
    require_complete = proposals.require_complete

    async def overtaken(*given: object) -> None:
        await require_complete(*given)  # type: ignore[arg-type]
        async with scene.pool.transaction() as connection:
            await close_by_tally(connection, row)

    monkeypatch.setattr(proposals, "require_complete", overtaken)
    await tick(scene, admin_keypair_path=None)
    closing = await vote_closings.find(scene.pool, market, kind)
    assert closing is not None
    assert (closing.voting_over, closing.closed_at, closing.log_size) == (True, row.closed_at, row.log_size)
