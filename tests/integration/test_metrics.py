"""Tests of the metrics of connections, Redis, alerts, storage, votes and sockets."""

from __future__ import annotations

import asyncio
import math
from datetime import UTC, datetime

import pytest
from test_websocket_contract import ask, client

from kit import rows
from kit.figures import figure
from kit.sockets import serving
from kit.tcp_proxy import TcpProxy
from kit.waiting import until
from kit.wallets import market_id
from zmart.errors import Busy, ReadOnly, Unavailable
from zmart.feed import redis_client
from zmart.market.tally import Tally
from zmart.market.types import Bps, ChainTime, MarketId, Slot, VoteKind
from zmart.ops.background import BackgroundJobs
from zmart.ops.redis_watch import ping
from zmart.ops.silence import alert_name, report_silence
from zmart.settings import load_settings
from zmart.store import alerts, anchors, change_feed, decision_accuracy, market_work, tallies
from zmart.store.decision_accuracy import DecisionAccuracy
from zmart.store.market_work import Job
from zmart.store.pool import Pool
from zmart.store.tallies import NewTally

_NOW = datetime.now(UTC)

# ------------------------------------------------------------------------------------------------------- PostgreSQL


async def test_the_pools_of_a_process_are_summed(database_url: str) -> None:
    before = {state: figure("zmart_database_connections", state=state) for state in ("in_use", "idle")}
    limit = figure("zmart_database_connections_limit")
    pool = await Pool.open(database_url, size=2, wait_s=5)
    assert figure("zmart_database_connections_limit") == limit + 2
    assert figure("zmart_database_connections", state="idle") == before["idle"] + 1
    async with pool.acquire(), pool.acquire():
        assert figure("zmart_database_connections", state="in_use") == before["in_use"] + 2
        waiting = asyncio.create_task(pool.fetchval("SELECT 1"))
        await until(lambda: figure("zmart_database_waiting"))
    assert await waiting == 1
    assert figure("zmart_database_waiting") == 0
    await pool.close()
    assert figure("zmart_database_connections_limit") == limit


async def test_what_postgresql_does_not_serve_is_counted_by_kind(pool: Pool, database_url: str) -> None:
    def counted(kind: type[Exception]) -> float:
        return figure("zmart_database_errors_total", kind=kind.__name__)

    before = {kind: counted(kind) for kind in (Unavailable, Busy, ReadOnly)}
    with pytest.raises(ReadOnly):
        async with pool.transaction() as connection:
            await connection.execute("SET TRANSACTION READ ONLY")
            await connection.execute("DELETE FROM alerts")
    with pytest.raises(Busy):
        async with pool.transaction() as connection:
            await connection.execute("SET LOCAL statement_timeout = 1")
            await connection.execute("SELECT pg_sleep(5)")
    async with TcpProxy.before(database_url) as proxy:
        proxy.refuse()
        with pytest.raises(Unavailable):
            await Pool.open(proxy.url)
    assert {kind: counted(kind) - number for kind, number in before.items()} == dict.fromkeys(before, 1)


# ------------------------------------------------------------------------------------------------------------ Redis


async def test_redis_is_up_with_a_latency_or_down_with_none(redis_url: str) -> None:
    async with TcpProxy.before(redis_url) as proxy:
        client_of_redis = redis_client.connect(proxy.url, connections=1, connect_s=1, answer_s=1)
        await ping(client_of_redis)
        assert figure("zmart_redis_up") == 1
        assert 0 < figure("zmart_redis_ping_seconds") < 1
        failed = figure("zmart_redis_errors_total", kind="Unavailable")
        proxy.refuse()
        await ping(client_of_redis)
        assert figure("zmart_redis_up") == 0
        assert math.isnan(figure("zmart_redis_ping_seconds")), "an unknown latency is not zero"
        assert figure("zmart_redis_errors_total", kind="Unavailable") == failed + 1
        await client_of_redis.aclose()


# -------------------------------------------------------------------------------------------------- jobs and alerts


async def test_a_job_that_fails_is_counted() -> None:
    async def fails() -> None:
        raise KeyError("unforeseen")

    jobs = BackgroundJobs(asyncio.Event(), retry_s=0.01)
    jobs.start("A failing job", fails)
    await until(
        lambda: figure("zmart_background_failures_total", work="A failing job"), lambda n: (n or 0) > 1
    )
    await jobs.end()


async def test_open_alerts_are_told_without_what_they_are_about(pool: Pool) -> None:
    began = datetime.now(UTC).timestamp()
    keys = [f"failing:dispute:{market_id(number)}" for number in range(2)]
    for key in keys:
        await alerts.raise_alert(pool, key, "critical", "m")
    await alerts.raise_alert(pool, "stuck markets", "warning", "m")
    await report_silence(pool, frozenset())
    assert figure("zmart_alerts_open", alert="failing:dispute", severity="critical") == 2
    assert figure("zmart_alerts_open", alert="stuck markets", severity="warning") == 1
    assert figure("zmart_alerts_read_timestamp_seconds") >= began
    for key in keys:
        await alerts.resolve_alert(pool, key)
    await report_silence(pool, frozenset())
    assert figure("zmart_alerts_open", alert="failing:dispute", severity="critical") is None


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("index-differs", "index-differs"),
        ("silent:indexer", "silent:indexer"),
        (f"waiting:proposal:{'a1' * 32}", "waiting:proposal"),
        ("uncertain:0b7d7f1e-5f0e-4f0e-9c0e-3a1f6a1c2d3e", "uncertain"),
        ("payer low:11111111111111111111111111111111", "payer low"),
    ],
)
def test_the_name_of_an_alert_is_its_key_without_a_market_intent_or_wallet(key: str, name: str) -> None:
    assert alert_name(key) == name


# ---------------------------------------------------------------------------------------------- storage and sockets


async def test_the_storage_is_what_providers_keep_now(pool: Pool) -> None:
    async def pin(cid: str, market: int, size: int, *, state: str) -> None:
        await pool.execute(
            "INSERT INTO ipfs_anchors (kind, market_id, cid, size_bytes, provider, pinned_at, unpinned_at)"
            " VALUES ('evidence', $1, $2, $3, 'p', CASE WHEN $4 <> 'open' THEN now() END,"
            " CASE WHEN $4 = 'unpinned' THEN now() END)",
            market_id(market), cid, size, state,
        )  # fmt: skip

    await pin("a", 1, 100, state="pinned")
    await pin("a", 2, 100, state="pinned")  # the same bytes at the same provider
    await pin("b", 1, 30, state="pinned")
    await pin("c", 1, 7_000, state="open")
    await pin("d", 1, 7_000, state="unpinned")
    assert await anchors.storage(pool) == anchors.PinStorage(pins=2, size_bytes=130)


async def test_a_connection_that_resumes_counts_once_as_a_reconnection(
    database_url: str, redis_url: str, pool: Pool
) -> None:
    settings = load_settings(zmart_env="local", database_url=database_url, redis_url=redis_url, ws_port=0)
    epoch = (await change_feed.head(pool)).epoch
    accepted, resumed = figure("zmart_websocket_connected_total"), figure("zmart_websocket_reconnected_total")
    async with serving(settings) as service:
        async with client(service) as socket:
            await ask(socket, action="subscribe", channel="markets")
        async with client(service) as socket:
            for channel in ("markets", "trades"):
                await ask(socket, action="subscribe", channel=channel, epoch=epoch, offset=0)
        assert figure("zmart_websocket_feed_age_seconds") < 10
    assert figure("zmart_websocket_connected_total") == accepted + 2
    assert figure("zmart_websocket_reconnected_total") == resumed + 1


# ----------------------------------------------------------------------------------------------- threshold accuracy


async def _tally(pool: Pool, market: MarketId, kind: VoteKind, yes: int, no: int, *, passed: bool) -> None:
    new = NewTally(
        market_id=market, kind=kind, tally=Tally(yes, no), unproven=0, onchain=0, threshold_bps=Bps(7_000),
        passed=passed, log_size=0, log_root=bytes(32), closed_at=ChainTime(1), closed_slot=Slot(1),
    )  # fmt: skip
    async with pool.transaction() as connection:
        await tallies.insert(connection, new)


async def test_a_decision_against_its_count_is_found_whatever_was_written_beside_it(pool: Pool) -> None:
    approved, forced, rejected, upheld, overturned, ignored, open_one = map(market_id, range(1, 8))
    final = {"proposed_outcome": True, "was_disputed": True, "finalized_at": _NOW}
    folds = [
        rows.market_fold(approved, "APPROVED", approved_at=_NOW),
        rows.market_fold(forced, "APPROVED", approved_at=_NOW),
        rows.market_fold(rejected, "PROPOSED"),
        rows.market_fold(upheld, "FINALIZED", final_outcome=True, **final),
        rows.market_fold(overturned, "FINALIZED", final_outcome=False, **final),
        rows.market_fold(ignored, "FINALIZED", final_outcome=True, **final),
        rows.market_fold(open_one, "PROPOSED"),
    ]
    await rows.add_markets(pool, folds)
    await _tally(pool, approved, VoteKind.PROPOSAL, 1, 1, passed=False)  # an earlier round
    await _tally(pool, approved, VoteKind.PROPOSAL, 7, 3, passed=True)
    await _tally(
        pool, forced, VoteKind.PROPOSAL, 6_999, 3_001, passed=True
    )  # as if the verdict were miscomputed
    await _tally(pool, rejected, VoteKind.PROPOSAL, 1, 9, passed=False)
    await market_work.note(pool, rejected, Job.PROPOSAL, "rejected")
    await _tally(pool, open_one, VoteKind.PROPOSAL, 9, 1, passed=True)
    await _tally(pool, upheld, VoteKind.DISPUTE, 1, 9, passed=False)
    await _tally(pool, overturned, VoteKind.DISPUTE, 9, 1, passed=True)
    await _tally(pool, ignored, VoteKind.DISPUTE, 9, 1, passed=True)
    assert await decision_accuracy.accuracy(pool, days=30) == [
        DecisionAccuracy(VoteKind.PROPOSAL, correct=2, wrong=1),
        DecisionAccuracy(VoteKind.DISPUTE, correct=2, wrong=1),
    ]
    await pool.execute("UPDATE tallies SET taken_at = now() - interval '31 days'")
    assert {each.wrong for each in await decision_accuracy.accuracy(pool, days=30)} == {0}
