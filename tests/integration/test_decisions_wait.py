"""P1, P2, C1, C2: tests that no decision runs ahead of the index.

What the chain holds up to the close of a vote is known, folded and final before anything is decided.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from solders.keypair import Keypair

from kit.decisions import (
    Scene,
)
from kit.services import running_service
from kit.votes import (
    complete_index,
)
from kit.waiting import until
from kit.wallets import address_of
from zmart.decisions import waiting
from zmart.errors import Conflict
from zmart.local.chain.genesis import fund
from zmart.market.tally import Tally
from zmart.market.types import Lamports, MarketId, MarketState, VoteKind
from zmart.proofs.tally_evidence import gather
from zmart.proofs.verify_tally import TallyReport, verify_tally
from zmart.services import monitor
from zmart.services.aggregator.service import Aggregator
from zmart.services.monitor.service import Monitor
from zmart.store import alerts, intents, market_work, vote_lists, vote_log, votes
from zmart.store.market_work import WAITS_FOR_INDEX, Job, JobRow
from zmart.votes.vote_log import read_log

HOUR_S = 3_600


async def decide(scene: Scene, **settings: object) -> None:
    """Run one tick of the aggregator and one of the monitor."""
    async with scene.context(**settings) as context:
        aggregator = Aggregator(scene.with_settings(**settings), context, None)
        await aggregator.decide_due()
        await aggregator.finish()
        finalizer = Monitor(scene.with_settings(**settings), context)
        await finalizer.finalize_due()
        await finalizer.finish()


async def vote_on_chain(scene: Scene, market: MarketId, kind: VoteKind, *choices: bool) -> list[Keypair]:
    """Vote on chain with a new wallet for each choice and return the wallets; the index does not learn of the votes."""
    build = scene.chain.program.instructions
    make = build.submit_proposal_vote if kind is VoteKind.PROPOSAL else build.submit_dispute_vote
    voters = [Keypair() for _ in choices]
    for voter, choice in zip(voters, choices, strict=True):
        await fund(scene.rpc, address_of(voter), Lamports(10**9))
        await scene.send([make(address_of(voter), market, choice)], voter)
    return voters


async def work_of(scene: Scene, market: MarketId) -> JobRow | None:
    result = await market_work.of_market(scene.pool, market)
    return result[0] if result else None


async def verified(scene: Scene, market: MarketId, kind: VoteKind) -> TallyReport:
    evidence = await gather(scene.rpc, scene.chain.program, market)
    log = await read_log(scene.settings.require("database_url"), market)
    return verify_tally(evidence, evidence.anchors[kind], log)


async def test_a_dispute_waits_for_votes_on_chain_that_the_index_has_not_seen(scene: Scene) -> None:
    """P1: a dispute waits for an index that lacks 5 votes on chain, and is then decided by all 8 votes.

    3 wallets agree through the backend and 5 disagree on chain while the indexer stands still.
    """
    market = await scene.disputed()
    stopped_at = await scene.now()
    await complete_index(scene.pool, scene.chain.program.address, 1, stopped_at)
    await scene.vote(market, yes=3, kind=VoteKind.DISPUTE)
    await vote_on_chain(scene, market, VoteKind.DISPUTE, *[False] * 5)
    await scene.travel(73 * HOUR_S)
    for _ in range(2):
        await decide(scene)
    assert await scene.state(market) is MarketState.DISPUTED
    assert await intents.recent(scene.pool, 10) == []
    work = await work_of(scene, market)
    assert work is not None
    assert (work.status, work.attempts) == (WAITS_FOR_INDEX, 0)
    assert "complete through slot 1 and chain time 20" in str(work.last_error)
    assert "; the decision needs slot " in str(work.last_error)
    await scene.index_votes(market)
    await complete_index(scene.pool, scene.chain.program.address)
    await decide(scene)
    account = await scene.account(market)
    assert (account.state, account.final_outcome) == (MarketState.FINALIZED, True)
    assert (account.dispute_agree, account.dispute_disagree) == (3, 5)
    assert (await verified(scene, market, VoteKind.DISPUTE)).holds


async def test_an_approval_waits_for_votes_on_chain_that_the_index_has_not_seen(scene: Scene) -> None:
    """C2: an approval waits for an index that lacks votes on chain.

    5 wallets dislike on chain while the indexer stands still, and 7 like through the backend: 58 % are not enough.
    """
    market = await scene.market()
    await complete_index(scene.pool, scene.chain.program.address, 1, await scene.now())
    await vote_on_chain(scene, market, VoteKind.PROPOSAL, *[False] * 5)
    await scene.travel(2)
    await scene.vote(market, yes=7)
    await decide(scene)
    work = await work_of(scene, market)
    assert work is not None
    assert work.status == WAITS_FOR_INDEX
    assert await scene.events(market) == [*["MarketCreated"], *["ProposalVoteSubmitted"] * 5]
    await scene.index_votes(market)
    await complete_index(scene.pool, scene.chain.program.address)
    await decide(scene)
    assert await scene.state(market) is MarketState.PROPOSED
    assert await work_of(scene, market) is None
    assert "ProposalAggregated" not in await scene.events(market)


async def test_an_approval_sees_what_came_to_light_while_it_waited(scene: Scene) -> None:
    """C2: an approval counts votes that the index learns of while the approval waits for the lock of the vote log.

    The 3 likes in the backend are recorded. Then the index learns of 5 dislikes on chain: 38 % are not enough.
    """
    market = await scene.market()
    await scene.vote(market, yes=3)
    await decide(scene, admin_keypair_path=None)
    await vote_on_chain(scene, market, VoteKind.PROPOSAL, *[False] * 5)
    await market_work.without_pause(scene.pool, market)
    waits = "SELECT count(*) FROM pg_locks WHERE NOT granted"
    async with asyncio.TaskGroup() as group:
        async with scene.pool.transaction() as connection:
            await vote_log.lock(connection, market)
            group.create_task(decide(scene))
            await until(lambda: scene.pool.fetchval(waits), within_s=30)
            await scene.index_votes(market)
        await complete_index(scene.pool, scene.chain.program.address)
    assert await scene.state(market) is MarketState.PROPOSED
    account = await scene.account(market)
    assert (account.proposal_likes, account.proposal_dislikes) == (3, 5)
    assert "ProposalApproved" not in await scene.events(market)


@pytest.mark.parametrize(
    ("slot", "ahead_s"), [(0, 10**6), (2**40, -1)], ids=["a slot short", "a second of chain time short"]
)
async def test_both_the_slot_and_the_chain_time_must_be_reached(
    scene: Scene, slot: int, ahead_s: int
) -> None:
    market = await scene.disputed()
    await scene.vote(market, yes=1, kind=VoteKind.DISPUTE)
    closes_at = (await scene.account(market)).dispute_initiated_at + 72 * HOUR_S
    await complete_index(scene.pool, scene.chain.program.address, slot, closes_at + ahead_s)
    await scene.travel(73 * HOUR_S)
    await decide(scene)
    assert await scene.state(market) is MarketState.DISPUTED
    await complete_index(scene.pool, scene.chain.program.address, 2**40, closes_at)
    await decide(scene)
    assert await scene.state(market) is MarketState.FINALIZED


async def test_a_market_whose_events_are_stuck_is_not_decided(scene: Scene) -> None:
    """A market with an event that is impossible after its earlier events is not decided, whatever the index holds.

    The votes after such an event are known but not folded.
    """
    stuck, sound = await scene.disputed(), await scene.disputed()
    for market in (stuck, sound):
        await scene.vote(market, yes=1, kind=VoteKind.DISPUTE)
    await scene.pool.execute(
        "INSERT INTO market_folds (market_id, error, error_slot) VALUES ($1, 'more shares than are out', 5)",
        stuck,
    )
    await scene.travel(73 * HOUR_S)
    await decide(scene)
    assert await scene.state(stuck) is MarketState.DISPUTED
    assert await scene.state(sound) is MarketState.FINALIZED
    work = await work_of(scene, stuck)
    assert work is not None
    assert work.status == WAITS_FOR_INDEX
    assert "more shares than are out" in str(work.last_error)


async def test_an_undisputed_market_waits_for_the_index_too(scene: Scene) -> None:
    market = await scene.resolving()
    await complete_index(scene.pool, scene.chain.program.address, 2**40, await scene.now())
    await scene.travel(3 * 24 * HOUR_S + 60)
    await decide(scene)
    assert await scene.state(market) is MarketState.RESOLVING
    work = await work_of(scene, market)
    assert work is not None
    assert (work.job, work.status) == (Job.FINALIZE, WAITS_FOR_INDEX)
    await complete_index(scene.pool, scene.chain.program.address)
    await decide(scene)
    assert await scene.state(market) is MarketState.FINALIZED


async def test_a_vote_that_comes_after_the_close_is_late_and_counts_nowhere(scene: Scene) -> None:
    """P2: a vote after the close counts nowhere: account, backend's counts, list of votes and `verify tally` agree."""
    market = await scene.disputed()
    await scene.vote(market, yes=2, kind=VoteKind.DISPUTE)
    await complete_index(scene.pool, scene.chain.program.address, 1, 1)
    await scene.travel(73 * HOUR_S)
    await decide(scene)  # closed, and waits
    late, second = await vote_on_chain(scene, market, VoteKind.DISPUTE, False, False)
    with pytest.raises(Conflict, match="voting is over"):
        await scene.vote(market, yes=1, kind=VoteKind.DISPUTE, start=9_000)
    await scene.index_votes(market)
    assert (await votes.counts(scene.pool, market))[VoteKind.DISPUTE] == Tally(2, 0)
    await complete_index(scene.pool, scene.chain.program.address)
    await decide(scene)
    account = await scene.account(market)
    assert (account.dispute_agree, account.dispute_disagree) == (2, 0)
    assert (await votes.counts(scene.pool, market))[VoteKind.DISPUTE] == Tally(2, 0)
    listed = await vote_lists.of_market(scene.pool, market, VoteKind.DISPUTE, 10)
    assert {vote.wallet for vote in listed if vote.late} == {address_of(late), address_of(second)}
    report = await verified(scene, market, VoteKind.DISPUTE)
    assert report.holds
    assert any("2 votes came on chain after" in finding.text for finding in report.findings)


async def test_a_wallet_whose_vote_on_chain_is_late_keeps_its_other_one(scene: Scene) -> None:
    market = await scene.disputed()
    (cast,) = await scene.vote(market, yes=1, kind=VoteKind.DISPUTE)
    await complete_index(scene.pool, scene.chain.program.address, 1, 1)
    await scene.travel(73 * HOUR_S)
    await decide(scene)
    voter = Keypair.from_seed((1_000).to_bytes(32, "big"))
    assert address_of(voter) == cast.row.wallet
    await fund(scene.rpc, address_of(voter), Lamports(10**9))
    make = scene.chain.program.instructions.submit_dispute_vote
    await scene.send([make(address_of(voter), market, False)], voter)
    await scene.index_votes(market)
    assert (await votes.counts(scene.pool, market))[VoteKind.DISPUTE] == Tally(1, 0)
    await complete_index(scene.pool, scene.chain.program.address)
    await decide(scene)
    account = await scene.account(market)
    assert (account.dispute_agree, account.dispute_disagree, account.final_outcome) == (1, 0, False)
    assert (await verified(scene, market, VoteKind.DISPUTE)).holds


async def test_too_few_votes_are_a_verdict_about_a_complete_index_only(scene: Scene) -> None:
    """A dispute with 4 votes on chain and none in the backend waits for the index instead of being short of votes."""
    market = await scene.disputed()
    await complete_index(scene.pool, scene.chain.program.address, 1, 1)
    await vote_on_chain(scene, market, VoteKind.DISPUTE, True, True, True, False)
    await scene.travel(73 * HOUR_S)
    await decide(scene, min_dispute_votes=4)
    work = await work_of(scene, market)
    assert work is not None
    assert work.status == WAITS_FOR_INDEX
    await scene.index_votes(market)
    await complete_index(scene.pool, scene.chain.program.address)
    await decide(scene, min_dispute_votes=4)
    account = await scene.account(market)
    assert (account.dispute_agree, account.dispute_disagree, account.final_outcome) == (3, 1, False)


async def test_a_dispute_below_its_minimum_stays_open_until_it_is_reached(scene: Scene) -> None:
    market = await scene.disputed()
    await scene.vote(market, yes=2, kind=VoteKind.DISPUTE)
    await scene.travel(73 * HOUR_S)
    await decide(scene, min_dispute_votes=3)
    work = await work_of(scene, market)
    assert work is not None
    assert work.status == "too few votes"
    [alert] = [a for a in await alerts.open_alerts(scene.pool) if market in a.key]
    assert "with 2 vote(s); it needs 3" in alert.message
    await scene.vote(market, yes=1, kind=VoteKind.DISPUTE, start=9_000)
    await market_work.without_pause(scene.pool, market)
    await decide(scene, min_dispute_votes=3)
    account = await scene.account(market)
    assert (account.dispute_agree, account.final_outcome) == (3, False)
    assert (await verified(scene, market, VoteKind.DISPUTE)).holds


async def test_a_failure_in_between_does_not_bring_back_the_deadline_of_an_extended_vote(
    scene: Scene,
) -> None:
    """P1: a vote that is extended for too few votes counts later votes of both channels, backend and chain.

    2 agree in time, which is too few. An attempt fails with an error of the RPC. Then 2 more agree through the backend
    and 5 disagree on chain: all 9 votes count.
    """
    market = await scene.disputed()
    await scene.vote(market, yes=2, kind=VoteKind.DISPUTE)
    await scene.travel(73 * HOUR_S)
    await complete_index(scene.pool, scene.chain.program.address)
    await decide(scene, min_dispute_votes=4)
    await market_work.failed(scene.pool, market, Job.DISPUTE, "the RPC is down")
    await scene.vote(market, yes=2, kind=VoteKind.DISPUTE, start=9_000)
    await vote_on_chain(scene, market, VoteKind.DISPUTE, *[False] * 5)
    await scene.index_votes(market)
    await market_work.without_pause(scene.pool, market)
    await decide(scene, min_dispute_votes=4)
    account = await scene.account(market)
    assert (account.dispute_agree, account.dispute_disagree, account.final_outcome) == (4, 5, True)
    assert (await verified(scene, market, VoteKind.DISPUTE)).holds


async def test_off_chain_votes_end_by_the_chains_time_before_anybody_decides(scene: Scene) -> None:
    market = await scene.disputed()
    closes_at = (await scene.account(market)).dispute_initiated_at + 72 * HOUR_S
    await scene.pool.execute("UPDATE index_progress SET final_time = $1", closes_at)
    await scene.vote(market, yes=1, kind=VoteKind.DISPUTE)
    await scene.pool.execute("UPDATE index_progress SET final_time = $1", closes_at + 1)
    with pytest.raises(Conflict, match="voting is over"):
        await scene.vote(market, yes=1, kind=VoteKind.DISPUTE, start=9_000)


async def test_a_rejection_counts_what_was_on_chain_when_the_proposal_expired(scene: Scene) -> None:
    market = await scene.market()
    await scene.vote(market, yes=1, no=1)
    await vote_on_chain(scene, market, VoteKind.PROPOSAL, True, True, True, True)
    await complete_index(scene.pool, scene.chain.program.address, 1, 1)
    await scene.travel(7 * 24 * HOUR_S)
    await decide(scene)
    work = await work_of(scene, market)
    assert work is not None
    assert work.status == WAITS_FOR_INDEX
    await scene.index_votes(market)
    await complete_index(scene.pool, scene.chain.program.address)
    await decide(scene)
    account = await scene.account(market)
    assert (account.proposal_likes, account.proposal_dislikes) == (5, 1)
    assert account.state is MarketState.APPROVED


async def _nothing(_: object) -> None:
    """Decide nothing when the index has caught up."""


async def test_a_wait_of_ten_minutes_is_an_alert_that_ends_with_it(scene: Scene) -> None:
    market = await scene.disputed()
    await complete_index(scene.pool, scene.chain.program.address, 1, 1)
    await scene.vote(market, yes=1, kind=VoteKind.DISPUTE)
    await scene.travel(73 * HOUR_S)
    await decide(scene)

    async def look(decided: Callable[[object], Awaitable[None]] = _nothing) -> list[str]:
        result = await waiting.resume_ready(scene.pool, [Job.DISPUTE], decided)
        await waiting.update_alerts(scene.pool, [Job.DISPUTE], result)
        return [a.key for a in await alerts.open_alerts(scene.pool)]

    assert await look() == []
    await scene.pool.execute("UPDATE market_work SET status_since = now() - interval '601 s'")
    await decide(scene)
    assert await look() == ["index-behind:dispute"]
    await complete_index(scene.pool, scene.chain.program.address)
    await decide(scene)
    assert await look() == []


async def test_a_decision_goes_on_by_itself_when_the_index_has_caught_up(scene: Scene) -> None:
    market = await scene.disputed()
    await scene.vote(market, yes=1, kind=VoteKind.DISPUTE)
    await complete_index(scene.pool, scene.chain.program.address, 1, 1)
    await scene.travel(73 * HOUR_S)
    await decide(scene)
    never = scene.with_settings(monitor_cron="0 0 1 1 *")
    async with running_service(await monitor.create(never)):
        await complete_index(scene.pool, scene.chain.program.address)
        await until(lambda: scene.state(market), lambda state: state is MarketState.FINALIZED)
