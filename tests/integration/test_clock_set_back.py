"""The clock of the database's host was ahead, and is set back: what was stored before lies in the future.

The tests move the stored times ahead instead: that is how the rows look after the correction.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime, timedelta
from typing import Any, cast

import pytest

from kit import rows
from kit.waiting import until
from kit.wallets import market_id
from zmart.decisions import schedule
from zmart.decisions.schedule import is_daily_at_most, run_schedule
from zmart.market.types import Signature, Slot
from zmart.services.snapshots.building import SnapshotBuilder
from zmart.store import (
    alerts,
    anchors,
    deliveries,
    document_fetches,
    inbox,
    intents,
    market_work,
    schedules,
    service_status,
    session_locks,
)
from zmart.store.connection import connect
from zmart.store.inbox import FetchFailure, Hint
from zmart.store.intents import Action
from zmart.store.market_work import Job
from zmart.store.pool import Pool, Record
from zmart.store.retrying import Outages
from zmart.store.schedules import StatementRunner
from zmart.store.stopped_holders import StoppedHolders

MARKET = market_id(1)
EVERY_SECOND, MIDNIGHT = "* * * * * *", "0 0 * * *"
LEAD = "interval '1 hour'"
SCHEDULE_AHEAD = f"""
UPDATE pgqueuer_schedules SET next_run = next_run + {LEAD}, last_run = last_run + {LEAD}, updated = updated + {LEAD},
    heartbeat = heartbeat + {LEAD}
"""


@asynccontextmanager
async def ticking(
    database_url: str, ticks: list[int], outages: Outages | None = None, *, restart_after_crash: bool = False
) -> AsyncIterator[None]:
    stop = asyncio.Event()

    async def tick() -> None:
        ticks.append(1)

    running = asyncio.create_task(
        run_schedule(
            database_url, "here", EVERY_SECOND, tick, stop,
            restart_after_crash=restart_after_crash, outages=outages,
        )
    )  # fmt: skip
    try:
        yield
        assert not running.done()
    finally:
        stop.set()
        await running


@pytest.mark.parametrize(
    ("status", "restart_after_crash"), [("queued", False), ("queued", True), ("picked", False)]
)
async def test_a_schedule_goes_on_after_the_clock_was_set_back_by_an_hour(
    database_url: str, pool: Pool, status: str, restart_after_crash: bool
) -> None:
    """Also if the process that had taken it (`picked`) ended meanwhile."""
    ticks: list[int] = []
    async with ticking(database_url, ticks):
        await until(lambda: ticks)
    await pool.execute(SCHEDULE_AHEAD)
    await pool.execute("UPDATE pgqueuer_schedules SET status = $1", status)
    before = len(ticks)
    async with ticking(database_url, ticks, restart_after_crash=restart_after_crash):
        await until(lambda: len(ticks) > before, within_s=15)
    assert await pool.fetchval("SELECT last_run <= now() AND heartbeat <= now() FROM pgqueuer_schedules")


async def test_a_schedule_that_no_process_runs_makes_its_service_unready(
    database_url: str, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever keeps the ticks from running: here nothing brings the next run back."""

    async def bring_nothing_back(*_: object) -> None:
        return

    ticks, outages = list[int](), Outages(reported_after_s=0)
    async with ticking(database_url, ticks, outages):
        await until(lambda: ticks)
        assert outages.reason == ""
        with monkeypatch.context() as faulty:
            faulty.setattr(schedules, "bring_back", bring_nothing_back)
            await pool.execute(SCHEDULE_AHEAD)
            reason = await until(lambda: outages.reason, within_s=15)
            assert reason.startswith("The schedule here waits: no process has run it at its last 3 times")
        before = len(ticks)
        await until(lambda: len(ticks) > before and not outages.reason)


async def test_a_tick_that_another_process_runs_counts_for_all(database_url: str) -> None:
    """A process that gets no tick, as a stand-by, is ready: the schedule stands still for none."""
    missed = schedule._MissedTimes()
    at = datetime.now(UTC)
    assert [missed.note(at, is_first=True), missed.note(at), missed.note(at)] == [False, False, False]
    assert not missed.note(at + timedelta(seconds=1)), "another process took it"
    assert [missed.note(at), missed.note(at), missed.note(at), missed.note(at)] == [False, False, False, True]


@pytest.mark.parametrize(
    ("ahead", "is_brought_back"),
    [("1 hour", False), ("23 hours", False), ("49 hours", True), ("1 year", True)],
)
async def test_the_daily_run_is_brought_back_only_from_beyond_its_second_next_time(
    database_url: str, pool: Pool, ahead: str, is_brought_back: bool
) -> None:
    """A clock that was an hour ahead at midnight has run the day; the day's second midnight must not run it again."""
    day, hours = timedelta(days=1), timedelta(hours=1)
    await pool.execute(
        "INSERT INTO pgqueuer_schedules (expression, entrypoint, next_run) "
        "VALUES ($1, 'snapshots', now() + interval '1 hour' + $2::text::interval)", MIDNIGHT, ahead,
    )  # fmt: skip
    connection = await connect(database_url)
    driver = cast("StatementRunner", connection)
    await schedules.bring_back(driver, "snapshots", MIDNIGHT, hours, hours + day)
    await connection.close()
    left = await pool.fetchval("SELECT next_run - now() FROM pgqueuer_schedules")
    assert (left <= hours) == is_brought_back


def test_the_second_time_of_a_schedule_is_one_period_after_the_first() -> None:
    next_in = timedelta(seconds=300 - time.time() % 300)
    assert abs(schedule._second_in("*/5 * * * *", next_in) - next_in - timedelta(minutes=5)) < timedelta(
        seconds=1
    )


@pytest.mark.parametrize(
    ("cron", "is_daily"),
    [(MIDNIGHT, True), ("0 0 * * 1", True), ("0 0,12 * * 1", False), ("0 */6 * * *", False)],
)
def test_a_cron_expression_is_daily_if_no_day_has_two_of_its_times(cron: str, is_daily: bool) -> None:
    assert is_daily_at_most(cron) == is_daily


async def test_a_day_that_comes_a_second_time_gets_no_second_snapshot(pool: Pool) -> None:
    """The clock that was ahead has made the day's snapshot; the schedule's run of the true day keeps it."""
    await rows.add_markets(pool, [rows.market_fold(MARKET)])
    builder, day = SnapshotBuilder(pool, "1" * 32, "local"), date(2026, 11, 30)
    comment = "INSERT INTO discussions (market_id, wallet, content) VALUES ($1, $2, $3)"
    await pool.execute(comment, MARKET, "1" * 32, "before")
    first = await builder.build(MARKET, day, once=True)
    await pool.execute(comment, MARKET, "1" * 32, "after")
    kept = await builder.build(MARKET, day, once=True)
    assert (kept.cid, kept.is_new) == (first.cid, False)
    latest = await anchors.latest(pool, MARKET)
    assert latest is not None
    assert latest.cid == first.cid
    assert (await builder.build(MARKET, day)).is_new, "an operator's run adds a snapshot of the day"


async def test_a_pause_of_a_market_ends_with_the_clock_that_began_it(pool: Pool) -> None:
    """A pause of 5 s begun by a clock that was 50 minutes ahead is shorter than the longest pause, and ends too."""
    intent = await intents.plan(pool, MARKET, Action.FINALIZE_MARKET, 0, {})
    await market_work.failed(pool, MARKET, Job.FINALIZE, "an error")
    assert await intents.open_intents(pool, [Action.FINALIZE_MARKET]) == []
    for lead in ("50 minutes", "3 hours"):
        await pool.execute(
            "UPDATE market_work SET last_attempt_at = now() + $1::text::interval, "
            "next_attempt_at = now() + $1::text::interval + interval '5 s'", lead,
        )  # fmt: skip
        await pool.execute("UPDATE intents SET updated_at = now() + $1::text::interval", lead)
        open_ = await intents.open_intents(pool, [Action.FINALIZE_MARKET], 1.0)
        assert [each.id for each in open_] == [intent.id]


async def test_the_inbox_goes_on_after_the_clock_was_set_back(pool: Pool) -> None:
    one, two = Signature("1" * 64), Signature("2" * 64)
    await inbox.store(pool, "scan", [Hint(one, Slot(1), b"{}"), Hint(two, Slot(2), None)])
    [claimed] = await inbox.claim_fetches(pool, 9, 5.0)
    await inbox.unfetched(pool, [FetchFailure(id=claimed.id, error="e")])
    await pool.execute("UPDATE inbox SET next_attempt_at = now() + interval '60 s'")
    assert (await inbox.ready(pool, 9), await inbox.claim_fetches(pool, 9, 5.0)) == ([], []), "they pause"
    await pool.execute(f"UPDATE inbox SET next_attempt_at = next_attempt_at + {LEAD}")
    assert [row.signature for row in await inbox.ready(pool, 9)] == [one]
    assert [row.signature for row in await inbox.claim_fetches(pool, 9, 5.0)] == [two]
    assert await inbox.claim_fetches(pool, 9, 5.0) == [], "the lease holds by the present clock"


async def test_deliveries_are_confirmed_after_the_clock_was_set_back(pool: Pool) -> None:
    await pool.execute(
        "INSERT INTO unconfirmed_transactions (slot, signature, digest, received_at, listed, next_attempt_at) "
        f"VALUES (1, 's', '', now(), false, now() + {LEAD})"
    )
    assert [row.signature for row in await deliveries.claim(pool, 9, 5.0)] == ["s"]
    assert await deliveries.claim(pool, 9, 5.0) == []


async def test_an_alert_is_notified_after_the_clock_was_set_back(pool: Pool) -> None:
    await alerts.raise_alert(pool, "key", "warning", "text")
    assert await alerts.claim_notification(pool, 30.0) is not None
    assert await alerts.claim_notification(pool, 30.0) is None
    await pool.execute(f"UPDATE alerts SET claimed_until = claimed_until + {LEAD}")
    assert await alerts.claim_notification(pool, 30.0) is not None


@pytest.mark.parametrize(("attempts", "pause_s"), [(0, 0), (1, 5), (3, 20), (30, 6 * 3_600)])
async def test_a_document_is_fetched_after_the_clock_was_set_back(
    pool: Pool, attempts: int, pause_s: int
) -> None:
    """A pause that its number of attempts does not give was begun by a clock that was ahead."""
    await pool.execute(
        "INSERT INTO document_fetches (market_id, cid, attempts, next_attempt_at) "
        "VALUES ($1, 'c', $2, now() + make_interval(secs => $3))", MARKET, attempts, float(pause_s),
    )  # fmt: skip
    await document_fetches.end_pauses_ahead(pool)
    if pause_s:
        assert await document_fetches.claim(pool, is_first=not attempts) is None, "it pauses"
    await pool.execute(f"UPDATE document_fetches SET next_attempt_at = next_attempt_at + {LEAD}")
    await document_fetches.end_pauses_ahead(pool)
    assert await document_fetches.claim(pool, is_first=not attempts) is not None


async def test_a_process_that_ended_before_the_clock_was_set_back_is_silent_in_time(pool: Pool) -> None:
    """Otherwise its last report would count as recent for as long as the clock had been ahead."""
    for service in ("indexer", "monitor"):
        await service_status.report(pool, service, "1", True, "", {})
    await pool.execute(f"UPDATE service_status SET seen_at = now() + {LEAD}")
    await service_status.report(pool, "monitor", "1", True, "", {})
    ages = await service_status.silence(pool)
    assert all(0 <= age_s < 5 for age_s in ages.values()), ages


class ServerSetBack:
    """A database whose clock was set back: what holders of locks did lies in the future."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def fetchrow(self, sql: str, /, *arguments: object) -> Record | None:
        earlier = sql.replace("clock_timestamp()", f"(clock_timestamp() - {LEAD})")
        return await self._pool.fetchrow(earlier, *arguments)

    async def fetchval(self, sql: str, /, *arguments: object) -> Any:
        return await self._pool.fetchval(sql, *arguments)


async def test_a_stopped_holder_of_a_lock_is_ended_although_its_last_statement_lies_in_the_future(
    database_url: str, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its silence is then measured by the clock of the process that waits, which no correction moves."""
    monkeypatch.setattr(session_locks, "HOLDERS_AHEAD", StoppedHolders(stopped_after_s=0.3))
    set_back = ServerSetBack(pool)
    holder = await connect(database_url)
    try:
        await holder.execute("SELECT pg_advisory_lock(7)")
        assert not await session_locks.end_silent_holder(set_back, 7, 4.0)
        await holder.execute("SELECT 1")  # it works: its silence begins again
        await asyncio.sleep(0.31)
        assert not await session_locks.end_silent_holder(set_back, 7, 4.0)
        await until(lambda: session_locks.end_silent_holder(set_back, 7, 4.0))
    finally:
        holder.terminate()
