"""Tallies on both sides of a threshold: the services decide as the program does on the local chain."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from kit.decisions import Scene
from kit.votes import (
    vote_in_bulk,
)
from kit.wallets import address_of
from zmart.errors import ChainError
from zmart.market.tally import Tally
from zmart.market.types import Bps, MarketId, MarketState, VoteKind
from zmart.services.aggregator.service import Aggregator
from zmart.services.monitor.service import Monitor
from zmart.store import alerts, tallies

SEVENTY, SIXTY = Bps(7_000), Bps(6_000)
THREE_DAYS_S = 3 * 86_400


async def vote(scene: Scene, market: MarketId, tally: Tally, kind: VoteKind) -> None:
    choices = [True] * tally.votes_for + [False] * tally.votes_against
    program = scene.chain.program.address
    await vote_in_bulk(scene.pool, market, choices, kind, at=datetime.now(UTC), program=program, signed=False)


async def aggregate(scene: Scene, **settings: object) -> None:
    async with scene.context(**settings) as context:
        service = Aggregator(scene.with_settings(**settings), context, None)
        await service.decide_due()
        await service.finish()


async def settle(scene: Scene) -> None:
    async with scene.context() as context:
        service = Monitor(scene.settings, context)
        await service.finalize_due()
        await service.finish()


async def program_approves(scene: Scene, tally: Tally) -> bool:
    """Return whether the program approves a new market with these counts; the services are not asked."""
    market, keys = await scene.market(), scene.chain.keys
    build, backend = scene.chain.program.instructions, address_of(keys.backend)
    record = build.aggregate_proposal_votes(backend, market, tally.votes_for, tally.votes_against)
    approve = build.approve_proposal(address_of(keys.admin), market)
    try:
        await scene.send([record, approve], keys.backend, keys.admin)
    except ChainError:
        return False
    return await scene.state(market) is MarketState.APPROVED


PROPOSALS = [
    (Tally(6_999, 3_001), False),
    (Tally(7_000, 3_000), True),
    (Tally(2, 1), False),
    (Tally(0, 0), False),
    (Tally(5, 5), False),
    (Tally(1, 0), True),
    (Tally(0, 1), False),
]


@pytest.mark.parametrize(("tally", "passes"), PROPOSALS, ids=str)
async def test_a_proposal_is_approved_when_the_program_would(
    scene: Scene, tally: Tally, passes: bool
) -> None:
    assert tally.reaches(SEVENTY) is passes
    assert await program_approves(scene, tally) is passes
    market = await scene.market()
    await vote(scene, market, tally, VoteKind.PROPOSAL)
    await aggregate(scene)
    account = await scene.account(market)
    assert (account.state is MarketState.APPROVED) is passes
    recorded = (account.proposal_likes, account.proposal_dislikes)
    assert recorded == ((tally.votes_for, tally.votes_against) if passes else (0, 0))


DISPUTES = [
    (Tally(5_999, 4_001), True),
    (Tally(6_000, 4_000), False),
    (Tally(2, 1), False),
    (Tally(1, 1), True),
    (Tally(0, 1), True),
]


async def test_a_dispute_turns_the_outcome_when_the_program_says_so(scene: Scene) -> None:
    """YES was proposed: it stays below 60 % of agreement with the dispute, and is overturned from 60 % on."""
    markets = await scene.many_resolving(len(DISPUTES) + 1)
    await scene.dispute(markets)
    for market, (tally, _) in zip(markets, DISPUTES, strict=False):
        await vote(scene, market, tally, VoteKind.DISPUTE)
    await scene.travel(THREE_DAYS_S + 60)
    await settle(scene)
    for market, (tally, outcome) in zip(markets, DISPUTES, strict=False):
        account = await scene.account(market)
        assert account.state is MarketState.FINALIZED, tally
        assert account.final_outcome is outcome, tally
        assert tally.reaches(SIXTY) is not outcome
        row = await tallies.latest(scene.pool, market, VoteKind.DISPUTE)
        assert row is not None
        assert (row.tally, row.passed) == (tally, not outcome)
    unvoted = markets[-1]
    assert await scene.state(unvoted) is MarketState.DISPUTED, "0 votes: nobody can settle it"
    keys = [alert.key for alert in await alerts.open_alerts(scene.pool)]
    assert keys == [f"waiting:dispute:{unvoted}"]
    finalize = scene.chain.program.instructions.finalize_market(
        address_of(scene.chain.keys.backend), unvoted, (0, 0)
    )
    with pytest.raises(ChainError):
        await scene.send([finalize], scene.chain.keys.backend)
