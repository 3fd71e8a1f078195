"""A1: tests that a person reviews a close result, or one that new wallets decided, before a market is finalized."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from kit import rows
from kit.decisions import Scene
from zmart.market.types import MarketId, MarketState, VoteKind
from zmart.services.monitor.service import Monitor
from zmart.store import alerts, dispute_reviews, market_work, tallies
from zmart.votes import reviews

HOUR_S = 3_600
_VOTERS = "SELECT wallet FROM vote_log_entries WHERE log_index < $1 AND market_id = $2"


async def voted(
    scene: Scene, agree: int, disagree: int, old: int | None = None, start: int = 1_000
) -> MarketId:
    """Return a dispute whose time is over.

    The first `old` voters, by default all, traded long before the market existed.
    """
    market = await scene.disputed()
    await scene.vote(market, agree, disagree, VoteKind.DISPUTE, start)
    long_ago = datetime(2020, 1, 1, tzinfo=UTC) + timedelta(days=1)
    voters = await scene.pool.fetch(_VOTERS, agree + disagree if old is None else old, market)
    trades = [rows.trade_fold(market, voter["wallet"], traded_at=long_ago) for voter in voters]
    await rows.add_trades(scene.pool, trades)
    await scene.travel(73 * HOUR_S)
    return market


async def decide(scene: Scene, mode: str) -> None:
    async with scene.context() as context:
        service = Monitor(scene.with_settings(dispute_review=mode), context)
        await service.finalize_due()
        await service.finish()


async def test_a_close_result_waits_for_an_operator_under_hold(scene: Scene) -> None:
    market = await voted(scene, agree=8, disagree=5)  # 6,153 bps, the threshold is 6,000
    await decide(scene, "hold")
    assert await scene.state(market) is MarketState.DISPUTED
    [work] = await market_work.of_market(scene.pool, market)
    assert work.status == "waiting: review"
    [alert] = await alerts.open_alerts(scene.pool)
    assert "The result is close: 6153 bps agree, the threshold is 6000 bps." in alert.message
    await market_work.without_pause(scene.pool, market)
    await decide(scene, "hold")
    assert await scene.state(market) is MarketState.DISPUTED
    await reviews.release(scene.pool, market, "command line: ada", "checked")
    await decide(scene, "hold")
    account = await scene.account(market)
    assert (account.state, account.dispute_agree) == (MarketState.FINALIZED, 8)
    stored = await dispute_reviews.find(scene.pool, market)
    assert stored is not None
    assert (stored.released_by, stored.note) == ("command line: ada", "checked")


async def test_a_result_that_young_wallets_carry_waits_and_a_clear_one_does_not(scene: Scene) -> None:
    """A1: a result that would differ without the votes of wallets newer than the market waits; a clear one does not."""
    carried, clear = await voted(scene, 9, 3, old=0), await voted(scene, 9, 1, start=9_000)
    await decide(scene, "hold")
    assert await scene.state(carried) is MarketState.DISPUTED
    assert await scene.state(clear) is MarketState.FINALIZED
    requested = await dispute_reviews.find(scene.pool, carried)
    assert requested is not None
    assert "carried by 12 of 12 votes" in requested.reasons[0]
    assert await dispute_reviews.find(scene.pool, clear) is None


@pytest.mark.parametrize(("mode", "alerted"), [("alert", True), ("auto", False)])
async def test_without_hold_it_is_settled_and_alert_says_so(scene: Scene, mode: str, alerted: bool) -> None:
    market = await voted(scene, agree=8, disagree=5)
    await decide(scene, mode)
    assert await scene.state(market) is MarketState.FINALIZED
    row = await tallies.latest(scene.pool, market, VoteKind.DISPUTE)
    assert row is not None
    result = [alert.key for alert in await alerts.open_alerts(scene.pool)]
    assert result == ([f"dispute review:{market}"] if alerted else [])
    if alerted:
        await reviews.release(scene.pool, market, "command line: ada", "seen")
        assert await alerts.open_alerts(scene.pool) == []
