"""Tests of intents (one for each effect, one process at a time, every signature stored) and of shared schedules."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from uuid import UUID

import pytest

from kit import rows
from kit.votes import PROGRAM, add_market
from kit.waiting import until
from kit.wallets import market_id
from zmart.decisions import schedule
from zmart.decisions.findings import resolve_intent
from zmart.decisions.schedule import run_schedule
from zmart.decisions.workers import MarketWorkers
from zmart.errors import Conflict, NotFound, StoreError, Unavailable
from zmart.market.types import Signature, Slot
from zmart.store import alerts, decision_alerts, intents, market_work
from zmart.store.connection import connect
from zmart.store.intent_claims import Claims
from zmart.store.intents import Action, IntentRow, IntentState
from zmart.store.market_work import AWAITING_ADMIN, NEEDS_A_PERSON, TOO_FEW_VOTES, Job
from zmart.store.pool import Connection, Pool

MARKET = market_id(1)
Tick = Callable[[], Awaitable[None]]
ONE, TWO = Signature("1" * 64), Signature("2" * 64)


@pytest.fixture
async def claims(pool: Pool) -> AsyncIterator[Claims]:
    async with Claims(pool) as opened:
        yield opened


@pytest.fixture
async def intent(pool: Pool) -> IntentRow:
    return await intents.plan(pool, MARKET, Action.FINALIZE_MARKET, 0, {"votes_for": 1, "memo": "m"})


async def test_an_effect_is_planned_once_and_keeps_its_first_arguments(pool: Pool, intent: IntentRow) -> None:
    plans = await asyncio.gather(
        *(intents.plan(pool, MARKET, Action.FINALIZE_MARKET, 0, {"votes_for": n}) for n in range(2, 6))
    )
    assert {plan.id for plan in plans} == {intent.id}
    assert {plan.arguments["votes_for"] for plan in plans} == {1}
    other = await intents.plan(pool, MARKET, Action.FINALIZE_MARKET, 1, {})
    assert other.id != intent.id


async def test_one_process_at_a_time_holds_an_intent(
    claims: Claims, database_url: str, intent: IntentRow
) -> None:
    async with await Claims.open(database_url) as stranger:
        async with claims.claim(intent.id) as mine:
            assert mine is not None
            assert not await stranger.is_free(intent.id)
            for other in (stranger, claims):  # another process, another task of this one
                async with other.claim(intent.id) as theirs:
                    assert theirs is None
        assert await stranger.is_free(intent.id)
        async with stranger.claim(intent.id) as theirs:
            assert theirs is not None


async def test_one_connection_holds_many_intents_at_once(pool: Pool, claims: Claims) -> None:
    async def hold(number: int) -> bool:
        row = await intents.plan(pool, market_id(number), Action.FINALIZE_MARKET, 0, {})
        async with claims.claim(row.id) as claim:
            assert claim is not None
            await claim.journal.save_signed(str(row.id), Signature(str(number)), b"raw", 10)
            await claim.journal.mark_landed(str(row.id), Signature(str(number)), Slot(7))
        return (await intents.one(pool, row.id)).state is IntentState.LANDED

    assert all(await asyncio.gather(*(hold(number) for number in range(50))))


async def test_who_loses_the_lock_can_no_longer_write_and_a_stand_by_can(
    pool: Pool, claims: Claims, database_url: str, intent: IntentRow
) -> None:
    """A process whose session ends, as when its network breaks, writes and signs no more for its intent.

    Another process can claim the intent.
    """
    async with await Claims.open(database_url) as stranger:
        with pytest.raises(Unavailable):
            async with claims.claim(intent.id) as mine:
                assert mine is not None
                backends = "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND pid <> pg_backend_pid()"
                await pool.execute("SELECT pg_terminate_backend($1)", await pool.fetchval(backends))
                await until(lambda: stranger.is_free(intent.id))
                await mine.journal.save_signed(str(intent.id), ONE, b"raw", 10)
        async with stranger.claim(intent.id) as second_result:
            assert second_result is not None
            assert second_result.intent.state is IntentState.PLANNED
    async with claims.claim(intent.id) as second_result:  # with a new session
        assert second_result is not None


async def test_a_process_that_is_stopped_loses_its_intents_within_ten_seconds(
    pool: Pool, database_url: str, intent: IntentRow
) -> None:
    """A stopped process loses its intent within ten seconds, and a process that only works for long keeps its own.

    The session of a stopped process stays open, since the kernel answers in its place.
    """
    busy = await intents.plan(pool, market_id(2), Action.FINALIZE_MARKET, 0, {})
    async with (
        await Claims.open(database_url) as worker,
        await Claims.open(database_url) as stand_by,
        stopped_holder(database_url, intent) as session,
        worker.claim(busy.id) as kept,
    ):
        assert kept is not None
        began = time.monotonic()
        assert not await stand_by.is_free(intent.id)
        await until(lambda: stand_by.is_free(intent.id), within_s=10, every_s=0.5)
        assert time.monotonic() - began > 2, "it was not waited for"
        with pytest.raises(Unavailable):
            await session.fetchval("SELECT 1")
        assert not await stand_by.is_free(busy.id)
        await kept.journal.save_signed(str(busy.id), ONE, b"raw", 10)


@asynccontextmanager
async def stopped_holder(database_url: str, intent: IntentRow) -> AsyncIterator[Connection]:
    """Yield the session of a process that took the intent and was then stopped."""
    connection = await connect(database_url)
    try:
        await connection.execute(
            "SELECT pg_advisory_lock(hashtextextended('zmart intent ' || $1, 0))", str(intent.id)
        )
        yield connection
    finally:
        connection.terminate()


async def test_a_journal_keeps_every_signature_and_what_became_of_it(
    pool: Pool, claims: Claims, intent: IntentRow
) -> None:
    key = str(intent.id)
    async with claims.claim(intent.id) as claim:
        assert claim is not None
        await claim.journal.save_signed(key, ONE, b"one", 10)
        await claim.journal.mark_sent(key, ONE)
        assert (await intents.one(pool, intent.id)).in_flight
        await claim.journal.mark_dead(key, ONE)
        dead = await intents.one(pool, intent.id)
        assert (dead.state, dead.in_flight) == (IntentState.DEAD, False)
        await claim.journal.save_signed(key, TWO, b"two", 20)
        await claim.journal.mark_sent(key, TWO)
        await claim.journal.mark_landed(key, TWO, Slot(7))
    landed = await intents.one(pool, intent.id)
    assert (landed.state, landed.attempts, landed.landed_slot) == (IntentState.LANDED, 2, 7)
    stored = [(s.signature, s.attempt, s.verdict) for s in await intents.signatures(pool, intent.id)]
    assert stored == [(ONE, 1, "dead"), (TWO, 2, "landed")]


async def test_open_intents_are_those_that_were_begun_and_not_ended(
    pool: Pool, claims: Claims, intent: IntentRow
) -> None:
    actions = [Action.FINALIZE_MARKET]
    assert [i.id for i in await intents.open_intents(pool, actions)] == [intent.id]
    async with claims.claim(intent.id) as claim:
        assert claim is not None
        await claim.journal.mark_failed(str(intent.id), 6027, "DisputePeriodNotEnded", "too early")
    assert await intents.open_intents(pool, actions) == []
    await intents.reopen(pool, intent.id)
    assert (await intents.open_intents(pool, actions))[0].state is IntentState.PLANNED
    assert (await intents.counts(pool))[IntentState.PLANNED] == 1


async def test_an_intent_pauses_after_a_failure_and_not_for_an_index_that_is_complete_by_now(
    pool: Pool, intent: IntentRow
) -> None:
    """The pause of an intent that waits for the index ends with a complete index; the pause after a failure goes on.

    The process that waited may have been stopped since.
    """
    actions = [Action.FINALIZE_MARKET]
    await market_work.wait_for_index(pool, MARKET, Job.FINALIZE, "behind", 70, 700, 30)
    assert await intents.open_intents(pool, actions) == []
    await rows.index_through(pool, PROGRAM, 70, 700)
    assert [i.id for i in await intents.open_intents(pool, actions)] == [intent.id]
    await market_work.failed(pool, MARKET, Job.FINALIZE, "an error")
    assert await intents.open_intents(pool, actions) == []


async def test_a_landed_intent_that_is_taken_up_again_is_judged_by_its_signature_first(
    pool: Pool, claims: Claims, intent: IntentRow
) -> None:
    async with claims.claim(intent.id) as claim:
        assert claim is not None
        await claim.journal.save_signed(str(intent.id), ONE, b"one", 10)
        await claim.journal.mark_landed(str(intent.id), ONE, Slot(7))
    await intents.reopen(pool, intent.id)
    assert (await intents.one(pool, intent.id)).in_flight


async def test_an_unknown_intent_is_not_found(pool: Pool) -> None:
    with pytest.raises(NotFound, match="zmart intents list"):
        await intents.one(pool, UUID(int=0))
    async with pool.acquire() as connection:
        with pytest.raises(StoreError, match="changed under its sender"):
            await intents.Journal(connection).mark_already_done(str(UUID(int=0)))


async def test_one_run_per_tick_whatever_the_number_of_schedulers(database_url: str) -> None:
    stop, runs = asyncio.Event(), []

    async def tick() -> None:
        runs.append(time.time())

    schedulers = [
        asyncio.create_task(run_schedule(database_url, "shared", "* * * * * *", tick, stop)) for _ in range(3)
    ]

    async def enough() -> int:
        return len(runs)

    await until(enough, lambda number: number >= 3, within_s=15)
    stop.set()
    await asyncio.gather(*schedulers)
    gaps = [later - earlier for earlier, later in itertools.pairwise(runs)]
    assert min(gaps) > 0.5, f"two schedulers ran one tick: {gaps}"


async def test_a_tick_whose_process_died_as_it_took_it_delays_the_next_by_seconds(
    database_url: str, pool: Pool
) -> None:
    """After a process died during a tick the next tick runs within seconds.

    The library of the job queue would wait for 30 s. A process that works renews its claim on the tick every second.
    """
    stop, runs = asyncio.Event(), []

    async def tick() -> None:
        runs.append(1)
        if len(runs) == 1:
            await pool.execute("UPDATE pgqueuer_schedules SET status = 'picked', heartbeat = now()")
            stop.set()  # ends this process, so the row stays as another process left it

    def scheduler() -> Awaitable[None]:
        return run_schedule(database_url, "taken", "* * * * * *", tick, stop, restart_after_crash=False)

    await scheduler()
    await pool.execute("UPDATE pgqueuer_schedules SET status = 'picked', heartbeat = now()")
    stop.clear()
    began = time.monotonic()
    running = asyncio.ensure_future(scheduler())
    await until(lambda: len(runs) >= 2, within_s=10)
    assert time.monotonic() - began > 3, "it was not waited for"
    stop.set()
    await running


async def test_a_schedule_outlives_the_end_of_its_connection(database_url: str, pool: Pool) -> None:
    stop, runs = asyncio.Event(), []

    async def tick() -> None:
        runs.append(1)
        raise RuntimeError("a tick that fails is logged, and the next one comes")

    scheduler = asyncio.create_task(
        run_schedule(database_url, "lonely", "* * * * * *", tick, stop, retry_s=0.1)
    )

    async def ran() -> int:
        return len(runs)

    await until(ran)
    # Cut between two ticks: a tick that is cut off in its middle runs again only after 30 s.
    end = (
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid() "
        "AND NOT EXISTS (SELECT FROM pgqueuer_schedules WHERE status = 'picked')"
    )
    await until(lambda: pool.fetchval(end))
    before = len(runs)
    await until(ran, lambda number: number > before + 1)
    stop.set()
    await asyncio.wait_for(scheduler, 10)


async def test_ticks_missed_while_nobody_ran_are_made_up_for_by_one(database_url: str, pool: Pool) -> None:
    yearly, runs = "0 0 1 1 *", []

    async def tick() -> None:
        runs.append(time.time())

    async def run_until(wanted: int) -> None:
        stop = asyncio.Event()
        running = asyncio.create_task(run_schedule(database_url, "yearly", yearly, tick, stop))
        booked = "SELECT count(*) FROM pgqueuer_schedules WHERE status = 'queued' AND next_run > now()"
        await until(lambda: pool.fetchval(booked))
        stop.set()
        await asyncio.wait_for(running, 10)
        assert len(runs) == wanted

    await run_until(0)
    await pool.execute("UPDATE pgqueuer_schedules SET next_run = now() - interval '3 years'")
    await run_until(1)
    await run_until(1)


@pytest.mark.parametrize(("cron", "latest_s"), [("*/5 * * * *", schedule.JITTER_S), ("*/2 * * * * *", 0.0)])
async def test_ticks_of_minutes_begin_spread_over_some_seconds_and_others_at_once(
    monkeypatch: pytest.MonkeyPatch, cron: str, latest_s: float
) -> None:
    stop, waited, ticks, ran = asyncio.Event(), list[float](), 200, 0

    async def pause(of: asyncio.Event, seconds: float) -> None:
        assert of is stop
        waited.append(seconds)

    async def due(url: str, name: str, cron: str, tick: Tick, stop: asyncio.Event, *_: object) -> None:
        for _ in range(ticks):
            await tick()
        stop.set()

    async def tick() -> None:
        nonlocal ran
        assert len(waited) > ran, "it waits first"
        ran += 1

    monkeypatch.setattr(schedule, "pause", pause)
    monkeypatch.setattr(schedule, "_run", due)
    await run_schedule("", "spread", cron, tick, stop)
    assert ran == len(waited) == ticks
    assert all(0 <= seconds <= latest_s for seconds in waited)
    assert max(waited) - min(waited) >= latest_s / 2


async def test_a_stop_does_not_wait_for_a_tick_that_hangs(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schedule, "GRACE_S", 0.2)
    stop, begun = asyncio.Event(), asyncio.Event()

    async def tick() -> None:
        begun.set()
        await asyncio.Event().wait()

    running = asyncio.create_task(run_schedule(database_url, "hanging", "* * * * * *", tick, stop))
    await asyncio.wait_for(begun.wait(), 5)
    stop.set()
    await asyncio.wait_for(running, 2)


async def test_a_stop_ends_work_that_hangs_and_what_was_not_begun(pool: Pool) -> None:
    workers, begun = MarketWorkers(pool, limit=1), asyncio.Event()

    async def hang() -> None:
        begun.set()
        await asyncio.Event().wait()

    for number in (1, 2):
        workers.start(market_id(number), Job.FINALIZE, hang)
    await begun.wait()
    await asyncio.wait_for(workers.drain(0.1), 2)


async def test_a_slow_market_does_not_hold_up_the_others(pool: Pool) -> None:
    workers, release, done = MarketWorkers(pool, limit=2), asyncio.Event(), []

    async def slow() -> None:
        await release.wait()
        done.append("slow")

    async def quick() -> None:
        done.append("quick")

    workers.start(market_id(1), Job.FINALIZE, slow)
    workers.start(market_id(1), Job.FINALIZE, quick)  # not begun: work on this market is running
    for number in (2, 3, 4):
        workers.start(market_id(number), Job.FINALIZE, quick)

    async def finished() -> int:
        return len(done)

    await until(finished, lambda number: number == 3)
    release.set()
    await workers.drain()
    assert done == ["quick"] * 3 + ["slow"]


async def test_alerts_open_once_count_and_close(pool: Pool) -> None:
    assert [await alerts.raise_alert(pool, "k", "warning", f"m{n}") for n in range(3)] == [1, 2, 3]
    await alerts.raise_alert(pool, "other", "critical", "m")
    first, second = await alerts.open_alerts(pool)
    assert (first.key, second.key, second.times, second.message) == ("other", "k", 3, "m2")
    assert await alerts.resolve_alert(pool, "k")
    assert not await alerts.resolve_alert(pool, "k")
    assert await alerts.raise_alert(pool, "k", "warning", "again") == 1


async def test_finished_work_is_forgotten_and_rejections_are_kept(pool: Pool) -> None:
    await add_market(pool, market_id(1), "FINALIZED")
    await add_market(pool, market_id(2), "PROPOSED")
    await market_work.note(pool, market_id(1), Job.FINALIZE, "failing")
    await market_work.note(pool, market_id(2), Job.PROPOSAL, "rejected")
    assert await market_work.forget_finished(pool) == [(market_id(1), Job.FINALIZE)]
    await market_work.done(pool, market_id(2), Job.PROPOSAL)
    assert [work.status for work in await market_work.everything(pool)] == ["rejected"]


async def test_alerts_about_decisions_close_when_their_reason_is_gone(pool: Pool) -> None:
    """An alert about a decision closes once the decision is made, fails no more, or waits for no person."""
    jobs = [(market_id(n), job) for n, job in enumerate((Job.PROPOSAL, Job.DISPUTE, Job.FINALIZE))]
    for (market, job), status in zip(jobs, (AWAITING_ADMIN, TOO_FEW_VOTES, "failing"), strict=True):
        await market_work.note(pool, market, job, status)
        topic = "failing" if status == "failing" else "waiting"
        await alerts.raise_alert(pool, f"{topic}:{job.value}:{market}", "warning", "m")
    await alerts.raise_alert(pool, "sign-in", "critical", "of another kind")
    assert await decision_alerts.resolve_outdated(pool) == []
    await market_work.done(pool, *jobs[0])
    await market_work.wait_for_index(pool, *jobs[1], "slow", 1, 1, 0.0)
    assert sorted(await decision_alerts.resolve_outdated(pool)) == [
        f"waiting:dispute:{jobs[1][0]}",
        f"waiting:proposal:{jobs[0][0]}",
    ]
    await market_work.note(pool, *jobs[2], NEEDS_A_PERSON)
    assert await decision_alerts.resolve_outdated(pool) == [f"failing:finalize:{jobs[2][0]}"]


async def test_the_alert_about_an_effect_that_cannot_be_judged_closes_once_it_is_judged(
    pool: Pool, intent: IntentRow, claims: Claims
) -> None:
    """It is also closed if the transaction failed or expired, an operator's request settled the effect, or the process
    that judged it was killed before it closed the alert."""
    key, number = f"uncertain:{intent.id}", str(intent.id)
    async with claims.claim(intent.id) as claim:
        assert claim is not None
        journal = claim.journal
        for judged in (
            lambda: journal.mark_failed(number, 6007, "InvalidMarketState", "no"),
            lambda: journal.mark_dead(number, ONE),
            lambda: journal.mark_landed(number, ONE, Slot(5)),
        ):
            await journal.save_signed(number, ONE, b"raw", 1)
            await journal.mark_uncertain(number, "no history")
            await alerts.raise_alert(pool, key, "critical", "Nobody can tell.")
            assert await decision_alerts.resolve_outdated(pool) == []
            await judged()
            assert await decision_alerts.resolve_outdated(pool) == [key]
            await pool.execute("DELETE FROM intent_signatures")


async def test_a_person_resolves_an_intent_as_soon_as_no_service_holds_it(pool: Pool) -> None:
    intent = await intents.plan(pool, market_id(1), Action.FINALIZE_MARKET, 0, {})
    async with Claims(pool) as claims:
        async with claims.claim(intent.id) as claim:
            assert claim is not None
            with pytest.raises(Conflict, match="is being executed now"):
                await resolve_intent(pool, intent.id, IntentState.DEAD, "not there", wait_s=0.0)
            resolving = asyncio.create_task(resolve_intent(pool, intent.id, IntentState.DEAD, "not there"))
            await claim.journal.mark_uncertain(str(intent.id), "no history")
        assert (await resolving).state is IntentState.DEAD
