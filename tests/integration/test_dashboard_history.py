"""Tests of the dashboard's figures: heartbeats store a bounded number, and the page draws an hour or a day."""

from __future__ import annotations

import pytest

from zmart.ops.dashboard import Dashboard
from zmart.ops.history import FigureRecorder
from zmart.services.gateway.metrics import REQUESTS
from zmart.settings import load_settings
from zmart.store import figure_history, service_status
from zmart.store.figure_history import MINUTE_S, QUARTER_S, FigurePeriod
from zmart.store.pool import Pool


async def _beat(pool: Pool, recorder: FigureRecorder) -> None:
    await recorder.record(pool, await service_status.report(pool, "gateway", "here:1", True, "", {}))


async def test_heartbeats_of_a_step_are_one_row_of_each_length(pool: Pool) -> None:
    recorder = FigureRecorder("gateway", "here:1")
    now_s = await service_status.report(pool, "gateway", "here:1", True, "", {})
    steady_s = now_s // QUARTER_S * QUARTER_S + 30  # no step ends between the beats
    await recorder.record(pool, steady_s)
    for _ in range(3):
        REQUESTS.count("GET", "/history", 200, 0.02)
    await recorder.record(pool, steady_s + 5)
    rows = await pool.fetch("SELECT step_s, counts, seconds FROM figure_history ORDER BY step_s")
    assert [row["step_s"] for row in rows] == [MINUTE_S, QUARTER_S]
    [minute, *_] = await figure_history.read(pool, MINUTE_S, 86_400)
    assert minute.counts["requests"] >= 3
    assert minute.counts["request_seconds:0.025"] >= 3
    assert minute.seconds > 0
    await recorder.record(pool, steady_s + 65)
    assert await pool.fetchval("SELECT count(*) FROM figure_history") == 3, "a new minute, the same quarter"


async def test_no_more_is_kept_than_is_drawn(pool: Pool) -> None:
    """A process has about 220 rows of figures at most, however long it runs: older rows are deleted."""
    now_s = int(await service_status.report(pool, "gateway", "here:1", True, "", {}))
    for step_s in (MINUTE_S, QUARTER_S):
        for first in range(0, 2_000, 500):
            periods = [
                FigurePeriod(
                    step_s=step_s, began_s=(now_s // step_s - ago) * step_s, seconds=1, counts={}, levels={}
                )
                for ago in range(first, first + 500)
            ]
            await figure_history.write(pool, "indexer", "here:2", periods)
    await _beat(pool, FigureRecorder("gateway", "here:1"))
    kept = await pool.fetchval("SELECT count(*) FROM figure_history WHERE service = 'indexer'")
    assert 215 <= kept <= 222


async def test_reading_a_span_uses_the_key(pool: Pool) -> None:
    await pool.execute(
        "INSERT INTO figure_history SELECT 60, now() - n * interval '1 minute', 's' || p, 'i', 60, '{}', '{}'"
        " FROM generate_series(0, 119) n, generate_series(1, 50) p; ANALYZE figure_history"
    )
    plan = await pool.fetch(f"EXPLAIN {figure_history._READ}", MINUTE_S, 3_660)
    assert any("figure_history_pkey" in row[0] for row in plan), [row[0] for row in plan]


@pytest.mark.parametrize(
    ("query", "title"), [("", "Last hour"), ("span=day", "Last day"), ("span=x", "Last hour")]
)
async def test_the_page_draws_what_was_kept(pool: Pool, database_url: str, query: str, title: str) -> None:
    now_s = int(await service_status.report(pool, "gateway", "here:1", True, "", {}))
    for step_s in (MINUTE_S, QUARTER_S):
        began_s = now_s // step_s * step_s
        periods = [
            FigurePeriod(
                step_s=step_s, began_s=began_s - ago * step_s, seconds=10,
                counts={"requests": 420 + ago, "messages": 50}, levels={"lag_slots": 33, "payer_lamports": 2.5e9},
            )
            for ago in range(3)
        ]  # fmt: skip
        await figure_history.write(pool, "gateway", "here:1", periods)
    dashboard = Dashboard(load_settings(database_url=database_url))
    status, page = await dashboard.page(query)
    await dashboard.close()
    assert status == 200
    assert title in page
    for label in (
        "Requests: requests 42/s",
        "Messages to sockets: messages 5/s",
        "Index behind the tip: lag 33 slots",
        "Fee payer: balance 2.5 SOL",
        "Socket connections: open unknown",
    ):
        assert f'aria-label="{label}' in page
    assert "<script" not in page
