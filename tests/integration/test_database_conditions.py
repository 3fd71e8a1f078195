"""Tests of a database that is read-only, locked, full, cut or stopped: services wait, say why, and work again."""

from __future__ import annotations

import asyncio
import json
import logging
import math
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from redis.asyncio import Redis
from websockets.asyncio.client import connect

from kit import commands
from kit.chain_story import Story
from kit.database_conditions import DatabaseConditions
from kit.figures import figure
from kit.gateway import Site, add_market, address, site, wallet
from kit.indexer import engine_on, hint, settings_of, settle
from kit.services import running_service
from kit.story_node import serving
from kit.waiting import until
from zmart.decisions.schedule import run_schedule
from zmart.errors import Busy, Unavailable
from zmart.local.postgres import Postgres
from zmart.local.processes import free_port
from zmart.local.valkey import Valkey
from zmart.ops.host import create_service
from zmart.services.indexer.service import Indexer
from zmart.services.webhook import PATH
from zmart.store import inbox, migrate
from zmart.store.pool import Pool
from zmart.store.retrying import Outages

READ_ONLY = "default_transaction_read_only"
MARKET = "ab" * 32
WALLET = "1" * 32
COMMENT = "INSERT INTO discussions (market_id, wallet, content) VALUES ($1, $2, $3)"
STORY = Story(2, markets=1, trades=3)


@pytest.fixture
def conditions(database_url: str) -> DatabaseConditions:
    return DatabaseConditions(database_url)


def refusal_of(answer: httpx.Response) -> tuple[int, bool, str]:
    return answer.status_code, int(answer.headers.get("retry-after", 0)) > 0, answer.json()["message"]


async def ready_of(here: Site) -> tuple[bool, str]:
    answer = await here.gateway.readiness()
    return answer.ready, answer.reason


# --------------------------------------------------------------------------------------------------------- gateway


async def test_a_read_only_database_answers_reads_and_refuses_writes_with_503(
    database_url: str, redis_url: str, conditions: DatabaseConditions
) -> None:
    async with site(database_url, redis_url) as here:
        comment = {"content": "Can it be written?", "market_id": await add_market(here.pool, 1)}
        token = await here.sign_in(wallet(1))
        await conditions.set(READ_ONLY, "on")
        await until(lambda: here.get("/api/markets?limit=7"), lambda answer: answer.status_code == 200)
        bearer = {"authorization": f"Bearer {token}"}
        writes = [
            await here.post("/api/discussions", comment, token),
            await here.http.put(f"/api/users/{address(1)}", json={"username": "a-user"}, headers=bearer),
        ]
        for answer in writes:
            status, has_time, message = refusal_of(answer)
            assert (status, has_time) == (503, True), answer.text
            assert "accepts no writes" in message
        delivery = b"[" + STORY.txs[0].raw() + b"]"
        refused = await here.http.post(PATH, content=delivery, headers={"content-type": "application/json"})
        assert refusal_of(refused)[:2] == (503, True)
        ready, reason = await ready_of(here)
        assert not ready
        assert "accepts no writes" in reason
        await conditions.reset(READ_ONLY)
        await until(lambda: ready_of(here), lambda said: said == (True, ""))
        assert (await here.post("/api/discussions", comment, token)).status_code == 201


@pytest.mark.parametrize("limit", ["lock_timeout", "statement_timeout"])
async def test_what_a_limit_of_the_role_ends_is_503_and_works_again_after_it(
    database_url: str, redis_url: str, conditions: DatabaseConditions, limit: str
) -> None:
    async with site(database_url, redis_url) as here:
        market = await add_market(here.pool, 1)
        comment = {"content": "Is it locked?", "market_id": market}
        token = await here.sign_in(wallet(1))
        await conditions.set(limit, "150ms")
        await until(lambda: ready_of(here), lambda said: said[0])
        async with conditions.locked("discussions"):
            written = await here.post("/api/discussions", comment, token)
            read = await here.get(f"/api/discussions/{market}")
        for answer in (written, read):
            assert refusal_of(answer) == (
                503,
                True,
                "The database is busy at the moment. Try again in a few seconds.",
            )
        assert (await here.post("/api/discussions", comment, token)).status_code == 201
        assert (await here.get(f"/api/discussions/{market}")).status_code == 200


async def test_a_database_without_a_free_connection_is_503_and_works_again_after_it(
    database_url: str, conditions: DatabaseConditions
) -> None:
    parts = urlsplit(database_url)
    guest = parts._replace(netloc=f"visitor:secret@127.0.0.1:{parts.port}").geturl()
    await conditions.execute("CREATE ROLE visitor LOGIN BYPASSRLS PASSWORD 'secret' CONNECTION LIMIT 1")
    try:
        await conditions.execute("GRANT pg_read_all_data, pg_write_all_data TO visitor")
        async with site(guest, with_rules=False) as here:
            async with here.pool.acquire():
                status, has_time, message = refusal_of(await here.get("/api/markets"))
                assert (status, has_time) == (503, True)
                assert "busy" in message
                ready, reason = await ready_of(here)
                assert not ready
                assert "too many connections" in reason
            assert (await here.get("/api/markets")).status_code == 200
            assert await ready_of(here) == (True, "")
    finally:
        await conditions.execute("DROP OWNED BY visitor")
        await conditions.execute("DROP ROLE visitor")


# --------------------------------------------------------------------------------------------------------- indexer


async def test_the_indexer_waits_while_the_database_is_read_only_and_then_indexes_what_came(
    database_url: str, conditions: DatabaseConditions
) -> None:
    async with serving(STORY) as node:
        indexer = await Indexer.open(settings_of(database_url, node.url))
        async with (
            running_service(indexer),
            httpx.AsyncClient(
                transport=httpx.ASGITransport(indexer.asgi()), base_url="http://indexer"
            ) as http,
        ):
            await conditions.set(READ_ONLY, "on")
            said = await until(indexer.readiness, lambda said: "accepts no writes" in said.reason)
            assert not said.ready
            assert "waits" in said.reason
            assert refusal_of(await http.post(PATH, content=b"[" + STORY.txs[0].raw() + b"]"))[:2] == (
                503,
                True,
            )
            await conditions.reset(READ_ONLY)
            await until(
                indexer.readiness, lambda said: said.ready and said.details["gap_free_slot"] == node.tip()
            )
            assert indexer.health()["events_total"] == sum(
                len(tx.events) for tx in STORY.txs if tx.err is None
            )


async def test_a_batch_that_takes_the_database_too_long_is_repeated_smaller(
    database_url: str, conditions: DatabaseConditions
) -> None:
    async with serving(STORY) as node, engine_on(database_url, node.url) as engine:
        await inbox.store(engine.pool, "scan", [hint(tx) for tx in STORY.txs])
        await conditions.set("lock_timeout", "100ms")
        await until(lambda: is_answered(engine.pool))
        sizes, prepare = set[int](), engine.worker._prefetcher.batch

        async def noting(*arguments: object) -> object:
            batch = await prepare(*arguments)
            sizes.add(len(batch.rows))
            return batch

        engine.worker._prefetcher.batch = noting
        async with conditions.locked("chain_events"):
            for _ in range(3):
                with pytest.raises(Busy):
                    await engine.worker.turn()
        assert sizes == {len(STORY.txs), len(STORY.txs) // 2, len(STORY.txs) // 4}
        await settle(engine)
        assert await engine.pool.fetchval("SELECT count(*) FROM chain_transactions") == len(STORY.txs)


async def is_answered(pool: Pool) -> bool:
    """Return whether the pool answers again, which means that it replaced the connections that were cut."""
    try:
        return await pool.fetchval("SELECT 1") == 1
    except Unavailable:
        return False


async def test_a_service_that_is_started_on_a_read_only_database_waits_and_does_not_end(
    database_url: str, conditions: DatabaseConditions
) -> None:
    async with serving(STORY) as node:
        await conditions.set(READ_ONLY, "on")
        creating = asyncio.create_task(create_service("indexer", settings_of(database_url, node.url), 0.02))
        await until(lambda: node.calls.get("getGenesisHash", 0) > 2)
        assert not creating.done()
        await conditions.reset(READ_ONLY)
        async with running_service(await creating):
            pass


# ------------------------------------------------------------------------------------------------------- schedules


@asynccontextmanager
async def scheduled(database_url: str) -> AsyncIterator[tuple[Outages, list[int]]]:
    """Run a schedule with a tick every second; yield its outages and a list that gets one element with each tick."""
    stop, outages, ticks = asyncio.Event(), Outages(), list[int]()

    async def tick() -> None:
        ticks.append(1)

    running_ = asyncio.create_task(
        run_schedule(database_url, "here", "* * * * * *", tick, stop, outages=outages)
    )
    try:
        await until(lambda: ticks)
        yield outages, ticks
        assert not running_.done()
    finally:
        stop.set()
        await running_


async def test_a_schedule_waits_while_the_database_is_read_only_and_then_goes_on(
    database_url: str, conditions: DatabaseConditions
) -> None:
    async with scheduled(database_url) as (outages, ticks):
        await conditions.set(READ_ONLY, "on")
        reason = await until(lambda: outages.reason, lambda reason: "accepts no writes" in reason)
        assert reason.startswith("The schedule here waits: ")
        before = len(ticks)
        await conditions.reset(READ_ONLY)
        await until(lambda: len(ticks) > before and not outages.reason)


def refusals() -> float:
    """How many statements PostgreSQL has not served: read-only, or on a connection that it ended."""
    return sum(figure("zmart_database_errors_total", kind=kind) or 0 for kind in ("ReadOnly", "Unavailable"))


async def test_an_outage_during_a_tick_is_logged_once_and_without_a_traceback(
    database_url: str,
    conditions: DatabaseConditions,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """C6, P17: PgQueuer logged a traceback each second, for the heartbeat of the tick that went on."""
    [in_one_line] = logging.getLogger("pgqueuer").filters
    monkeypatch.setattr(in_one_line, "_logged_at", -math.inf)
    stop, begun, may_end, outages = asyncio.Event(), asyncio.Event(), asyncio.Event(), Outages()

    async def tick() -> None:
        begun.set()
        await may_end.wait()

    running_ = asyncio.create_task(
        run_schedule(database_url, "here", "* * * * * *", tick, stop, outages=outages)
    )
    await begun.wait()
    before = refusals()
    await conditions.set(READ_ONLY, "on")
    await until(lambda: refusals() > before + 2)
    await conditions.reset(READ_ONLY)
    may_end.set()
    await until(lambda: not outages.reason)
    stop.set()
    await running_
    [record] = [each for each in caplog.records if each.name == "pgqueuer"]
    assert record.getMessage().startswith("A running tick is not recorded as running: PostgreSQL ")
    assert (record.levelname, record.exc_info) == ("WARNING", None)


async def test_a_tick_that_an_outage_kept_from_its_work_is_repeated_before_the_next_one(
    database_url: str,
) -> None:
    """C6, C19: a tick that an outage kept from its work is repeated soon, not only at the schedule's next time."""
    stop, times, outage = asyncio.Event(), list[float](), [True]

    async def tick() -> bool:
        times.append(time.monotonic())
        return not outage[0]

    running_ = asyncio.create_task(
        run_schedule(database_url, "here", "* * * * * */2", tick, stop, outage_retry_s=0.05)
    )
    await until(lambda: len(times) > 10)
    assert times[10] - times[0] < 3, "five of the schedule's own would take longer"
    outage[0] = False
    done = len(times)
    await until(lambda: len(times) >= done + 2)
    assert times[-1] - times[-2] > 1, "one that succeeded is not repeated"
    stop.set()
    await running_


async def test_a_server_that_is_stopped_and_started_again_is_waited_for(tmp_path: Path) -> None:
    server = Postgres(tmp_path / "postgres", free_port(), durable=False)
    await asyncio.to_thread(server.start)
    try:
        database_url = await asyncio.to_thread(server.create_database, "stopped")
        await asyncio.to_thread(migrate.upgrade, database_url)
        async with site(database_url) as here, scheduled(database_url) as (outages, ticks):
            assert (await here.get("/api/markets")).status_code == 200
            await asyncio.to_thread(server.stop)
            status, has_time, message = refusal_of(await here.get("/api/markets"))
            assert (status, has_time) == (503, True)
            assert message == "The database does not answer at the moment. Try again in a few seconds."
            assert "PostgreSQL" in (await ready_of(here))[1]
            with pytest.raises(Unavailable):
                await here.pool.fetchval("SELECT 1")
            await until(lambda: outages.reason)
            before = len(ticks)
            await asyncio.to_thread(server.start)
            await until(lambda: here.get("/api/markets"), lambda answer: answer.status_code == 200)
            await until(lambda: len(ticks) > before and not outages.reason)
            assert await ready_of(here) == (True, "")
    finally:
        await asyncio.to_thread(server.stop)
        server.erase()


# --------------------------------------------------------------------------------------------------------- sockets


@asynccontextmanager
async def websocket_process(
    database_url: str, redis_url: str
) -> AsyncIterator[tuple[httpx.AsyncClient, int]]:
    """Start `zmart run websocket` as a process; yield a client for its probes, and its port."""
    port = free_port()
    env = commands.environment(database_url=database_url, redis_url=redis_url, ws_port=port)
    process = await commands.start("run", "websocket", env=env)
    try:
        async with httpx.AsyncClient() as http:
            await until(lambda: readiness_of(http, port), lambda said: said[0] == 200)
            yield http, port
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGKILL)
        await process.wait()


async def readiness_of(http: httpx.AsyncClient, port: int) -> tuple[int, str]:
    """Return status and reason of /ready; (0, "") while nothing listens."""
    try:
        answer = await http.get(f"http://127.0.0.1:{port}/ready")
    except httpx.TransportError:
        return 0, ""
    return answer.status_code, answer.json()["reason"]


async def test_sockets_stay_open_through_every_condition_and_bring_what_is_committed(
    database_url: str, redis_url: str, conditions: DatabaseConditions
) -> None:
    async with (
        websocket_process(database_url, redis_url) as (http, port),
        connect(f"ws://127.0.0.1:{port}") as socket,
    ):
        await socket.recv()
        await socket.send(json.dumps({"action": "subscribe", "channel": "activity"}))
        assert json.loads(await socket.recv())["type"] == "subscribed"

        async def brings(content: str) -> None:
            await conditions.execute(COMMENT, MARKET, WALLET, content)
            async with asyncio.timeout(40):
                text = await socket.recv()
            assert (json.loads(text)["type"], content in str(text)) == ("discussion", True)

        await brings("before all")
        await conditions.set(READ_ONLY, "on")
        await brings("while it is read-only for others")
        await conditions.reset(READ_ONLY)
        await brings("once it is writable again")
        await conditions.set("lock_timeout", "100ms")
        async with conditions.locked("feed_head"):
            status, reason = await until(lambda: readiness_of(http, port), lambda said: "busy" in said[1])
            assert status == 503
            assert "Connections stay open" in reason
        await brings("after the lock")
        await conditions.cut()
        await brings("after its sessions were cut")
        await until(lambda: readiness_of(http, port), lambda said: said[0] == 200)


# ----------------------------------------------------------------------------------------------------------- Redis


@pytest.mark.parametrize(
    ("change", "back", "said"),
    [
        ("CONFIG SET maxmemory 1", "CONFIG SET maxmemory 0", "Redis accepts no writes (OutOfMemoryError"),
        ("REPLICAOF 127.0.0.1 1", "REPLICAOF NO ONE", "Redis accepts no writes (ReadOnlyError"),
    ],
)
async def test_a_redis_that_takes_no_writes_is_503_where_it_is_needed_and_nothing_elsewhere(
    database_url: str, own_valkey: Valkey, change: str, back: str, said: str
) -> None:
    async with site(database_url, own_valkey.url()) as here, Redis.from_url(own_valkey.url()) as admin:
        token = await here.sign_in(wallet(1))
        await admin.execute_command(*change.split())
        requested = await here.post("/api/auth/nonce", {"wallet": address(1)})
        left = await here.post("/api/auth/logout", token=token)
        for answer in (requested, left):
            status, has_time, message = refusal_of(answer)
            assert (status, has_time) == (503, True), answer.text
            assert said in message
            assert "ry again in a few seconds" in message
        assert (await here.get("/api/markets")).status_code == 200
        assert await ready_of(here) == (True, "")
        await admin.execute_command(*back.split())
        assert await here.sign_in(wallet(1))
