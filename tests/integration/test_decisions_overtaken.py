"""Tests of decisions that another process overtakes while the deciding one stands still, such as by SIGSTOP.

Each test lets another process act at one step of a tick, as it may while this process is stopped or merely slow.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from kit.decisions import Scene
from kit.votes import complete_index
from kit.wallets import address_of
from zmart.decisions import approvals
from zmart.market.tally import Tally
from zmart.market.types import MarketId, MarketState, VoteKind
from zmart.proofs.tally_evidence import gather
from zmart.proofs.verify_tally import Verdict, verify_tally
from zmart.services.aggregator.service import Aggregator
from zmart.services.monitor import finalizer
from zmart.services.monitor.service import Monitor
from zmart.store import market_work, tallies, vote_closings, vote_lists, votes
from zmart.votes.vote_log import read_log

FEW = {"min_dispute_votes": 5}


async def monitor(scene: Scene) -> None:
    """Run one tick of a monitor of its own, with the minimum number of votes FEW."""
    async with scene.context(**FEW) as context:
        service = Monitor(scene.with_settings(**FEW), context)
        await service.finalize_due()
        await service.finish()


async def close_dispute(scene: Scene, market: MarketId) -> None:
    """Close the vote on a dispute as a monitor does that then waits for the index."""
    async with scene.context(**FEW) as context:
        decider = await Monitor(scene.with_settings(**FEW), context)._finalizer()
        terms = await decider.voters.terms(market, VoteKind.DISPUTE)
        await decider._close(market, decider.closes_at(await context.market(market)), terms)


async def aggregator(scene: Scene, **settings: object) -> None:
    """Run one tick of an aggregator of its own."""
    async with scene.context(**settings) as context:
        service = Aggregator(scene.with_settings(**settings), context, None)
        await service.decide_due()
        await service.finish()


async def vote_on_chain(scene: Scene, market: MarketId, kind: VoteKind, number: int) -> None:
    """Vote against on chain with `number` new wallets, and index the votes."""
    build = scene.chain.program.instructions
    make = build.submit_proposal_vote if kind is VoteKind.PROPOSAL else build.submit_dispute_vote
    for _ in range(number):
        voter = await scene.rich()
        await scene.send([make(address_of(voter), market, False)], voter)
    await scene.index_votes(market)


def once_after(
    monkeypatch: pytest.MonkeyPatch, module: object, name: str, meanwhile: Callable[[], Awaitable[None]]
) -> None:
    """Run `meanwhile` after the first call of a function of `module`, before the caller goes on."""
    real, calls = getattr(module, name), []

    async def then_stopped(*arguments: Any) -> Any:
        result = await real(*arguments)
        if not calls:
            calls.append(name)
            await meanwhile()
        return result

    monkeypatch.setattr(module, name, then_stopped)


async def test_a_dispute_is_not_counted_by_a_closing_that_another_process_has_extended(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """5 agree and 6 disagree on chain after the vote was extended: all 11 count, and the outcome is as proposed.

    The stopped monitor closed the vote at its deadline, when there were 2 votes. By that closing it would count 5:0.
    """
    market, kind = await scene.disputed(), VoteKind.DISPUTE
    await scene.vote(market, yes=2, kind=kind)
    await scene.travel(72 * 3600 + 61)

    async def extend() -> None:
        await monitor(scene)
        assert not (await _closing(scene, market, kind)).voting_over
        await scene.vote(market, yes=3, kind=kind, start=9_000)
        await vote_on_chain(scene, market, kind, 6)

    with monkeypatch.context() as patched:
        once_after(patched, finalizer, "require_complete", extend)
        await monitor(scene)
    assert await tallies.latest(scene.pool, market, kind) is None
    assert await scene.state(market) is MarketState.DISPUTED
    await market_work.without_pause(scene.pool, market)
    await monitor(scene)
    account = await scene.account(market)
    assert (account.dispute_agree, account.dispute_disagree) == (5, 6)
    assert (account.state, account.final_outcome) == (MarketState.FINALIZED, True)
    await _verified(scene, market, kind)


async def test_a_process_that_was_stopped_extends_no_vote_that_another_has_closed_again(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With too few votes at the deadline it would put the earlier closing, no longer final, in place of the later."""
    market, kind = await scene.disputed(), VoteKind.DISPUTE
    await scene.vote(market, yes=2, kind=kind)
    await scene.travel(72 * 3600 + 61)

    async def extend_and_close() -> None:
        await monitor(scene)
        await vote_on_chain(scene, market, kind, 6)
        await close_dispute(scene, market)
        final.append(await _closing(scene, market, kind))

    final: list[vote_closings.VoteClosing] = []
    with monkeypatch.context() as patched:
        once_after(patched, finalizer, "require_complete", extend_and_close)
        await monitor(scene)
    assert final[0].voting_over
    assert await _closing(scene, market, kind) == final[0]
    await market_work.without_pause(scene.pool, market)
    await monitor(scene)
    row = await tallies.latest(scene.pool, market, kind)
    assert row is not None
    assert (row.tally, row.closed_at) == (Tally(2, 6), final[0].closed_at)
    await _verified(scene, market, kind)


async def test_an_approval_does_not_close_by_a_tally_that_was_overtaken(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process counts a second round while the first one's approval stands still, and the verdict turns again.

    The vote closes by the round that the chain records, and `zmart verify tally` holds.
    """
    market, kind = await scene.market(), VoteKind.PROPOSAL
    await scene.vote(market, yes=7, no=3)

    async def count_again() -> None:
        await scene.travel(10)
        await vote_on_chain(scene, market, kind, 1)
        await scene.vote(market, yes=0, no=3, start=5_000)
        await aggregator(scene, admin_keypair_path=None)
        await scene.vote(market, yes=12, start=6_000)

    once_after(monkeypatch, approvals, "require_recent", count_again)
    for _ in range(3):
        await market_work.without_pause(scene.pool, market)
        await aggregator(scene)
    rows = await tallies.of_market(scene.pool, market)
    assert [(row.tally, row.passed) for row in rows] == [
        (Tally(7, 3), True), (Tally(7, 7), False), (Tally(19, 7), True),
    ]  # fmt: skip
    account, closing = await scene.account(market), await _closing(scene, market, kind)
    assert (account.state, account.proposal_likes, account.proposal_dislikes) == (MarketState.APPROVED, 19, 7)
    assert (closing.closed_at, closing.log_size) == (rows[-1].closed_at, rows[-1].log_size)
    counted = (await votes.counts(scene.pool, market))[kind]
    listed = await vote_lists.of_market(scene.pool, market, kind, 100)
    assert counted.total == sum(not vote.late for vote in listed) == 26
    await _verified(scene, market, kind)


async def test_an_approval_waits_for_the_count_of_a_vote_that_was_closed_after_its_tally(
    scene: Scene,
) -> None:
    """A proposal whose verdict has turned is closed at its deadline. While the count waits, the index learns of votes
    that turn the verdict back: they are counted before the market is approved, since the tally does not have them."""
    market, kind = await scene.market(), VoteKind.PROPOSAL
    await scene.vote(market, yes=1)
    await aggregator(scene, admin_keypair_path=None)
    await scene.vote(market, yes=0, no=1, start=5_000)
    await scene.travel(2)
    make = scene.chain.program.instructions.submit_proposal_vote
    for _ in range(2):
        voter = await scene.rich()
        await scene.send([make(address_of(voter), market, True)], voter)
    await complete_index(scene.pool, scene.chain.program.address, 1, 1)
    await scene.travel(7 * 86_400)
    await market_work.without_pause(scene.pool, market)
    await aggregator(scene)
    closing = await _closing(scene, market, kind)
    assert closing.voting_over
    await scene.index_votes(market)
    await complete_index(scene.pool, scene.chain.program.address)
    await aggregator(scene)
    account = await scene.account(market)
    assert (account.state, account.proposal_likes, account.proposal_dislikes) == (MarketState.APPROVED, 3, 1)
    assert (await _closing(scene, market, kind)).closed_at == closing.closed_at
    await _verified(scene, market, kind)


async def _closing(scene: Scene, market: MarketId, kind: VoteKind) -> vote_closings.VoteClosing:
    closing = await vote_closings.find(scene.pool, market, kind)
    assert closing is not None
    return closing


async def _verified(scene: Scene, market: MarketId, kind: VoteKind) -> None:
    evidence = await gather(scene.rpc, scene.chain.program, market)
    log = await read_log(scene.settings.require("database_url"), market)
    report = verify_tally(evidence, evidence.anchors[kind], log)
    assert report.holds, [finding.text for finding in report.findings if finding.verdict is Verdict.BROKEN]
