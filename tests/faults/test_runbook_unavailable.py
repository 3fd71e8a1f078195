"""Drills of docs/operations.md about unavailable servers.

They check what still works, how soon the rest is refused, and how soon all services are ready again.
"""

from __future__ import annotations

import asyncio
import json
import signal
from contextlib import AsyncExitStack, ExitStack
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest
from redis.asyncio import Redis

from kit.database_conditions import DatabaseConditions
from kit.gateway import legacy_body
from kit.local_stack import paused
from kit.machine_time import machine_time, seconds_since
from kit.operator import Operator
from kit.operator_deliveries import deliver, delivery_of
from kit.operator_index import asked, becomes_indexed, is_indexed, voted, voted_elsewhere
from kit.operator_markets import liked, proposed, with_settings
from kit.operator_outages import (
    REFUSED_ON_CHAIN_WITHIN_S,
    ImpatientClient,
    beside,
    brought,
    chain_of,
    details_of,
    outage,
    pids_of,
    postgres_of,
    ready_in_time,
    redis_of,
    redis_refuses_writes,
    stayed_open,
    unready,
)
from kit.operator_texts import all_pinned, is_pinned, pinned_elsewhere, propose_elsewhere
from kit.rpc_proxy import Proxy, drops
from kit.tcp_proxy import TcpProxy
from kit.waiting import until
from zmart.local.demo import scenes_early as early
from zmart.local.demo import scenes_late as late
from zmart.local.demo.play import RESOLUTION_DELAY_HOURS
from zmart.local.demo.world import DemoWorld, MarketPlay
from zmart.services.contract import SERVICES
from zmart.store import change_feed
from zmart.store.service_status import SILENT_AFTER_S

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

_COMMENT = "INSERT INTO discussions (market_id, wallet, content) VALUES ($1, $2, $3)"
_SESSION = "SELECT count(*) FROM pg_stat_activity WHERE pid = $1"
_HOLDER = """
SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted AND objsubid = 1
  AND classid::bigint = ($1::bigint >> 32) & 4294967295 AND objid::bigint = $1::bigint & 4294967295
"""
_INTENT_LOCK = """
SELECT hashtextextended('zmart intent ' || id::text, 0) FROM intents
WHERE market_id = $1 AND state IN ('signed', 'sent')
"""
_WAITS_IN_TRANSACTION = """
SELECT a.pid FROM pg_stat_activity a JOIN pg_locks l USING (pid)
WHERE a.wait_event_type = 'Lock' AND l.locktype = 'advisory' AND l.granted
"""
CANNOT_BE_STORED = "PostgreSQL accepts no writes: reports of services cannot be stored"
_QUARTER_S = 0.25


# ---------------------------------------------------------------------------------------------------------- PostgreSQL


async def test_while_postgresql_is_stopped_sockets_stay_open_and_everything_else_waits(
    operator: Operator, world: DemoWorld
) -> None:
    operator.reads_row("PostgreSQL", "sockets stay open", "Webhooks get 503", "the scan finds")
    market, client, voter = await proposed(world), ImpatientClient(operator, world.users[2]), world.users[1]
    await all_pinned(operator)
    async with operator.without("providers"):  # Helius would deliver again
        async with outage(operator, "postgres", postgres_of(operator)):
            await until(lambda: unready(operator), lambda reasons: _all(reasons, set(SERVICES), "PostgreSQL"))
            paths = ("/api/markets?limit=7", f"/api/markets/{market.id}", "/api/status", "/")
            answers = [await client.get(path) for path in paths]
            answers += [await client.comment(market.id, "refused"), await client.vote(market.id)]
            answers += [await client.post("/api/markets", early.new_market(market, datetime.now(UTC)))]
            assert [answer for answer in answers if not answer.is_refused()] == []
            signature = await voted_elsewhere(world, market, voter)
            delivery = await delivery_of(world, signature)
            secret = operator.settings.require("helius_webhook_secret")
            for port in ("api_port", "indexer_port"):
                assert await deliver(operator, delivery, secret, port) == 503
        assert (await client.comment(market.id, "after PostgreSQL")).is_served(201)
        await becomes_indexed(operator, market, voter)
        await brought(world, "after PostgreSQL")
    assert stayed_open(world)


async def test_what_a_dead_connection_was_asked_is_given_up_in_seconds_and_new_connections_work(
    operator: Operator, world: DemoWorld
) -> None:
    operator.reads_row(
        "PostgreSQL on some connections, without an error",
        "new connections",
        "given up after 2 s by the gateway, after 3 to 5 s elsewhere",
        "its session ended with its locks",
    )
    market, client = await proposed(world), ImpatientClient(operator, world.users[2])
    delivery = await delivery_of(world, await voted(world, market, world.users[1]))
    secret, url = (
        operator.settings.require("helius_webhook_secret"),
        operator.settings.require("database_url"),
    )
    async with AsyncExitStack() as stack:
        proxy = await stack.enter_async_context(TcpProxy.before(url))
        for service in ("gateway", "indexer", "websocket"):
            await stack.enter_async_context(with_settings(operator, service, database_url=proxy.url))
        await operator.sees_all_ready()
        relay = await until(lambda: asked(operator, _HOLDER, change_feed._RELAY_LOCK))
        proxy.hang_old()
        began = machine_time()
        answers = [await client.get(f"/api/markets?limit={limit}") for limit in range(10, 20)]
        assert [answer for answer in answers if not (answer.is_served() or answer.is_refused())] == []
        assert [answer.status for answer in answers[5:]] == [200] * 5
        delivered = machine_time()
        assert await deliver(operator, delivery, secret, "indexer_port") in (200, 503)
        assert seconds_since(delivered) <= 5
        assert await deliver(operator, delivery, secret, "indexer_port") == 200
        await until(lambda: asked(operator, _SESSION, relay), lambda sessions: sessions == 0, every_s=0.1)
        assert seconds_since(began) <= 3 + 5, "a relay without news asks every three seconds"
        await until(lambda: details_of(operator, operator.settings.ws_port), lambda said: said.get("relay"))
        assert (await client.comment(market.id, "on a new connection")).is_served(201)
        await brought(world, "on a new connection")
        await ready_in_time(operator)


async def test_the_relay_of_a_process_that_is_stopped_is_done_by_another_within_eight_seconds(
    operator: Operator, world: DemoWorld
) -> None:
    operator.reads_row(
        "a process or a machine that is stopped", "of the relay after 7 s (8 s)", "done again by another"
    )
    market, client = await proposed(world), ImpatientClient(operator, world.users[2])
    relay = await until(lambda: asked(operator, _HOLDER, change_feed._RELAY_LOCK))
    async with beside(operator, "websocket") as other:
        with paused(operator.settings, "websocket"):
            began = machine_time()
            assert (await client.comment(market.id, "while the relay is stopped")).is_served(201)
            await until(lambda: asked(operator, _SESSION, relay), lambda sessions: sessions == 0, every_s=0.1)
            assert seconds_since(began) <= 8
            await until(lambda: details_of(operator, other), lambda said: said.get("relay"))
        await brought(world, "while the relay is stopped")
    await operator.sees_all_ready()


async def test_a_transaction_of_a_process_that_is_stopped_ends_after_eight_seconds_and_another_does_its_work(
    operator: Operator, world: DemoWorld
) -> None:
    operator.reads_row(
        "a process or a machine that is stopped",
        "in a transaction after 8 s (9 s at most; in the middle of a statement",
        "it connects again",
    )
    market, voter = await proposed(world), world.users[1]
    conditions = DatabaseConditions(operator.settings.require("database_url"))
    await all_pinned(operator)
    async with operator.without("providers"):
        with ExitStack() as stopped:
            async with conditions.locked("chain_events"):
                await voted_elsewhere(world, market, voter)
                writer = await until(lambda: asked(operator, _WAITS_IN_TRANSACTION))
                stopped.enter_context(paused(operator.settings, "indexer"))
            async with beside(operator, "indexer"):
                began = machine_time()
                await until(
                    lambda: asked(operator, _SESSION, writer), lambda sessions: sessions == 0, every_s=0.1
                )
                assert seconds_since(began) <= 9
                await becomes_indexed(operator, market, voter)
        await operator.sees_all_ready()


async def test_an_intent_of_a_process_that_is_stopped_is_executed_by_another_within_five_seconds(
    operator: Operator, world: DemoWorld
) -> None:
    operator.reads_row(
        "a process or a machine that is stopped", "of an intent after 4 s (5 s)", "done again by another"
    )
    market = await proposed(world)
    async with (
        Proxy.before(operator.settings.solana_rpc_url, drops) as rpc,
        with_settings(operator, "aggregator", solana_rpc_url=rpc.url) as aggregator,
    ):
        await liked(world, market)
        lock = await until(lambda: asked(operator, _INTENT_LOCK, market.id))
        holder = await until(lambda: asked(operator, _HOLDER, lock))
        aggregator.send_signal(signal.SIGSTOP)
        try:
            async with beside(operator, "aggregator"):
                began = machine_time()
                await until(
                    lambda: asked(operator, _SESSION, holder), lambda sessions: sessions == 0, every_s=0.1
                )
                assert seconds_since(began) <= 5
                await world.reached(market, "APPROVED")
        finally:
            aggregator.send_signal(signal.SIGCONT)
    await operator.sees_all_ready()


async def test_while_postgresql_takes_no_writes_reads_and_sockets_go_on(
    operator: Operator, world: DemoWorld
) -> None:
    operator.reads_row(
        "PostgreSQL for writes",
        "reads, sockets, messages of what is committed",
        "writes (503), indexing, decisions, schedules; no service ends",
        "call the other services unknown (`degraded` with the reason), not down",
        "`/ready` of the WebSocket server stays 200 with a `reason`",
    )
    market, client, voter = await proposed(world), ImpatientClient(operator, world.users[2]), world.users[1]
    undecided = await proposed(world)
    delivery = await delivery_of(world, await voted(world, market, world.users[3]))
    conditions = DatabaseConditions(operator.settings.require("database_url"))
    pids = pids_of(operator)
    await conditions.set("default_transaction_read_only", "on")
    began = machine_time()
    try:
        waiting = set(SERVICES) - {"websocket"}
        await until(
            lambda: unready(operator),
            lambda reasons: _all(reasons, waiting, "accepts no writes"),
            every_s=0.2,
        )
        for path in ("/api/markets?limit=9", f"/api/markets/{market.id}", "/api/status", "/"):
            assert (await client.get(path)).is_served()
        for answer in (await client.comment(market.id, "refused"), await client.vote(undecided.id)):
            assert answer.is_refused(), answer
        secret = operator.settings.require("helius_webhook_secret")
        assert await deliver(operator, delivery, secret) == 503
        await voted_elsewhere(world, market, voter)
        await conditions.execute(_COMMENT, market.id, voter.wallet, "by another role")
        await brought(world, "by another role")
        await until(
            lambda: details_of(operator, operator.settings.ws_port),
            lambda said: "accepts no writes" in str(said["reason"]),
        )
        while seconds_since(began) <= SILENT_AFTER_S + 5:
            assert await _statuses(operator) == {"degraded"}
            assert CANNOT_BE_STORED in await _dashboard(operator)
            await asyncio.sleep(0.5)
        assert not await is_indexed(operator, market, voter)
    finally:
        await conditions.reset("default_transaction_read_only")
    await ready_in_time(operator)
    await becomes_indexed(operator, market, voter)
    assert (stayed_open(world), pids_of(operator)) == (True, pids)


def _all(reasons: dict[str, str], services: set[str], words: str) -> bool:
    """Return whether exactly these services are not ready, each for a reason that contains `words`."""
    return set(reasons) == services and all(words in reason for reason in reasons.values())


async def _statuses(operator: Operator) -> set[str]:
    """Return the set of the services' statuses in /api/status."""
    answer = await operator.http.get(f"http://127.0.0.1:{operator.settings.api_port}/api/status")
    return set(answer.json()["service_status"].values())


async def _dashboard(operator: Operator) -> str:
    answer = await operator.http.get(f"http://127.0.0.1:{operator.settings.api_port}/dashboard")
    return answer.text.partition("<h1>")[2].partition("</h1>")[0]


async def test_while_statements_are_refused_everything_else_goes_on(
    operator: Operator, world: DemoWorld
) -> None:
    """With a lock_timeout, a table that clients use is locked, then one that the indexer writes."""
    operator.reads_row(
        "PostgreSQL for some statements",
        "everything else",
        "clients get 503, loops repeat it",
        "a batch of the indexer that takes too long is repeated in halves",
    )
    market, client, voters = (
        await proposed(world),
        ImpatientClient(operator, world.users[2]),
        world.users[4:8],
    )
    conditions = DatabaseConditions(operator.settings.require("database_url"))
    await conditions.set("lock_timeout", "500ms")
    try:
        await until(lambda: unready(operator), lambda reasons: not reasons)
        async with conditions.locked("discussions"):
            for answer in (
                await client.comment(market.id, "refused"),
                await client.get(f"/api/discussions/{market.id}"),
            ):
                assert answer.is_refused(), answer
            assert (await client.get("/api/markets?limit=11")).is_served()
            assert (await client.vote(market.id)).is_served(201)
        assert (await client.comment(market.id, "after the lock")).is_served(201)
        async with conditions.locked("chain_events"):
            for voter in voters:
                await voted_elsewhere(world, market, voter)
            await operator.sees_unready("indexer", "PostgreSQL is busy")
            assert (await client.comment(market.id, "while it cannot index")).is_served(201)
            batches = len(_batches(operator))
        await ready_in_time(operator)
        for voter in voters:
            await becomes_indexed(operator, market, voter)
        assert _batches(operator)[batches] < len(voters)
    finally:
        await conditions.reset("lock_timeout")
    await brought(world, "while it cannot index")
    assert stayed_open(world)


def _batches(operator: Operator) -> list[int]:
    """Return the number of rows of each batch of the indexer, from its log."""
    log: Path = operator.settings.zmart_home / "logs" / "indexer.log"
    lines = [line for line in log.read_text().splitlines() if "batch indexed" in line]
    return [int(json.loads(line)["rows"]) for line in lines]


async def test_while_no_connection_is_free_clients_are_refused_in_time(
    operator: Operator, world: DemoWorld
) -> None:
    operator.reads_row("PostgreSQL for some statements", "clients get 503")
    market, client = await proposed(world), ImpatientClient(operator, world.users[2])
    conditions = DatabaseConditions(operator.settings.require("database_url"))
    async with with_settings(operator, "gateway", database_pool_size="1"):
        async with conditions.locked("discussions"):
            comment = asyncio.create_task(client.comment(market.id, "holds the connection"))
            await until(lambda: asked(operator, "SELECT 1 FROM pg_locks WHERE NOT granted"))
            answer = await client.get("/api/markets?limit=13")
            assert (answer.is_refused(), (await comment).is_refused()) == (True, True), answer
        assert (await client.get("/api/markets?limit=14")).is_served()
    await operator.sees_all_ready()


# --------------------------------------------------------------------------------------------------------------- Redis


async def test_while_redis_is_stopped_reads_sessions_and_messages_go_on(
    operator: Operator, world: DemoWorld
) -> None:
    operator.reads_row(
        "Redis",
        "reads, sessions, live messages (from PostgreSQL), rate limits per process",
        "signing in and out (503), signed requests of older clients (503)",
    )
    market, client = await proposed(world), ImpatientClient(operator, world.users[2])
    async with outage(operator, "valkey", redis_of(operator)):
        await until(lambda: operator.reason("websocket"), lambda reason: not reason)
        reads = [await client.get(f"/api/markets?limit={limit}") for limit in range(1, 21)]
        assert [answer for answer in reads if not answer.is_served()] == []
        assert reads[19].requests_left < reads[17].requests_left < reads[15].requests_left
        assert (await client.comment(market.id, "without Redis")).is_served(201)
        assert (await client.vote(market.id)).is_served(201)
        await brought(world, "without Redis", 3)
        await _nobody_signs_in_or_out(client, market)
        gateway = await until(
            lambda: details_of(operator, operator.settings.api_port), lambda said: said["reason"]
        )
        assert (gateway["http_status"], "Nobody can sign in" in str(gateway["reason"])) == (200, True)
    message = json.loads((await until(client.nonce, lambda answer: answer.is_served())).text)["message"]
    assert (await client.verify(message)).is_served()
    assert stayed_open(world)


async def _nobody_signs_in_or_out(client: ImpatientClient, market: MarketPlay) -> None:
    """Check that signing in, signing out and a signed request of an older client are refused with 503."""
    signed = legacy_body(client.user.key, market_id=market.id, content="signed")
    refused = [
        await client.nonce(),
        await client.post("/api/auth/logout"),
        await client.post("/api/discussions", signed, token=""),
    ]
    assert [answer for answer in refused if not answer.is_refused()] == []


async def test_an_emptied_redis_is_filled_again_and_has_forgotten_logouts_signatures_and_nonces(
    operator: Operator, world: DemoWorld
) -> None:
    operator.reads_row(
        "Redis",
        "It may be emptied: the feed is filled again",
        "logouts of the last hour, and which signatures of older clients were used",
        "A sign-in under way begins again",
    )
    market = await proposed(world)
    client, leaver = ImpatientClient(operator, world.users[2]), ImpatientClient(operator, world.users[3])
    signed = legacy_body(client.user.key, market_id=market.id, content="signed once")
    assert (await client.post("/api/discussions", signed, token="")).is_served(201)
    assert (await leaver.post("/api/auth/logout")).is_served()
    async with (
        beside(operator, "gateway") as port,
        Redis.from_url(operator.settings.require("redis_url")) as redis,
    ):
        elsewhere = ImpatientClient(operator, world.users[3], port)
        assert (await elsewhere.comment(market.id, "signed out")).is_served(401)
        assert (await client.post("/api/discussions", signed, token="")).is_served(401)
        message = json.loads((await client.nonce()).text)["message"]
        await redis.flushall()
        assert (await client.verify(message)).is_served(401)
        assert (await elsewhere.comment(market.id, "signed in as before")).is_served(201)
        assert (await client.post("/api/discussions", signed, token="")).is_served(201)
        await brought(world, "signed in as before")
        await until(lambda: redis.keys("zmart:feed:*"))
    message = json.loads((await client.nonce()).text)["message"]
    assert (await client.verify(message)).is_served()
    assert (await world.socket.wait_for(lambda m: "signed in as before" in str(m.data), "it")).offset
    assert (world.socket.reconnects, world.socket.gaps) == (0, {})
    await operator.sees_all_ready()


@pytest.mark.parametrize("how", ["READONLY", "OOM", "MISCONF"])
async def test_while_redis_takes_no_writes_messages_are_a_quarter_of_a_second_later(
    operator: Operator, world: DemoWorld, how: str
) -> None:
    operator.reads_row(
        "Redis for writes",
        f"`{how}`",
        "messages come from PostgreSQL, a quarter of a second later",
        "`reason` of the WebSocket server's `/ready`, which stays 200",
    )
    market, client = await proposed(world), ImpatientClient(operator, world.users[2])
    usual_s = await _delay_s(world, client, market, "usual")
    async with redis_refuses_writes(operator, how):
        later_s = await _delay_s(world, client, market, how)
        print(f"{how}: a message after {usual_s:.3f} s, then after {later_s:.3f} s")
        assert later_s - usual_s <= _QUARTER_S + 0.05, "the time of one more read"
        assert (await client.get("/api/markets?limit=30")).is_served()
        await _nobody_signs_in_or_out(client, market)
        said = await until(
            lambda: details_of(operator, operator.settings.ws_port),
            lambda said: "Appending to Redis waits" in str(said["reason"]),
        )
        assert said["http_status"] == 200
    await ready_in_time(operator)
    assert (await client.nonce()).is_served()
    assert stayed_open(world)


async def _delay_s(world: DemoWorld, client: ImpatientClient, market: MarketPlay, label: str) -> float:
    """Write five comments; return the shortest time in seconds from a request to its message on the socket."""
    delays = []
    for number in range(5):
        began, content = machine_time(), f"comment {label} {number}."
        assert (await client.comment(market.id, content)).is_served(201)
        await brought(world, content)
        delays.append(seconds_since(began))
    return min(delays)


# ----------------------------------------------------------------------------------------------- the RPC and providers


async def test_while_the_rpc_is_stopped_reads_votes_comments_and_messages_go_on(
    operator: Operator, world: DemoWorld
) -> None:
    operator.reads_row(
        "RPC", "reads, votes, comments, live messages", "building transactions (503)", "indexing, decisions"
    )
    market, client = await proposed(world), ImpatientClient(operator, world.users[2])
    async with outage(operator, "chain", chain_of(operator)):
        for path in ("/api/markets?limit=31", f"/api/markets/{market.id}", "/api/status", "/"):
            assert (await client.get(path)).is_served()
        assert (await client.vote(market.id)).is_served(201)
        assert (await client.comment(market.id, "without the RPC")).is_served(201)
        await brought(world, "without the RPC")
        built = await client.post("/api/markets", early.new_market(market, datetime.now(UTC)))
        assert built.is_refused(REFUSED_ON_CHAIN_WITHIN_S), built
        await operator.sees_unready("indexer", "is the RPC there?")
        assert (await world.market(market))["state"] == "PROPOSED"
    await world.reached(market, "APPROVED")
    assert stayed_open(world)


async def test_while_the_rpc_hangs_only_what_needs_it_is_refused(
    operator: Operator, world: DemoWorld
) -> None:
    operator.reads_row("RPC", "reads, votes, comments, live messages", "building transactions (503)")
    market, client = await proposed(world), ImpatientClient(operator, world.users[2])
    async with (
        TcpProxy.before(operator.settings.solana_rpc_url) as proxy,
        with_settings(operator, "gateway", solana_rpc_url=proxy.url),
    ):
        proxy.hang()
        body = early.new_market(market, datetime.now(UTC))
        built = asyncio.create_task(client.post("/api/markets", body))
        assert (await client.vote(market.id)).is_served(201)
        assert (await client.comment(market.id, "the RPC hangs")).is_served(201)
        for path in ("/api/markets?limit=32", f"/api/markets/{market.id}", "/api/status"):
            assert (await client.get(path)).is_served()
        assert (await built).is_refused(REFUSED_ON_CHAIN_WITHIN_S), built
        await proxy.restore()
        assert (await client.post("/api/markets", body)).is_served(201, REFUSED_ON_CHAIN_WITHIN_S)


async def test_a_vote_whose_rule_asks_the_rpc_waits_for_it(operator: Operator, world: DemoWorld) -> None:
    operator.reads_row("RPC", "votes under the rule `funded` (503)")
    async with (
        operator.without("aggregator"),
        TcpProxy.before(operator.settings.solana_rpc_url) as proxy,
        with_settings(operator, "gateway", solana_rpc_url=proxy.url, vote_rule_proposals="funded:1000"),
    ):
        market, client = await proposed(world), ImpatientClient(operator, world.users[2])
        proxy.refuse()
        assert (await client.vote(market.id)).is_refused()
        assert (await client.comment(market.id, "is not judged")).is_served(201)
        await proxy.restore()
        assert (
            await until(lambda: client.vote(market.id), lambda answer: answer.status != 503)
        ).status == 201
    await operator.sees_all_ready()


@pytest.mark.parametrize("subscribes", ["true", "false"])
async def test_without_helius_each_transaction_is_indexed_some_seconds_later(
    operator: Operator, world: DemoWorld, subscribes: str
) -> None:
    operator.reads_row(
        "Helius", "everything", "the scan and logsSubscribe find each transaction some seconds later"
    )
    market, voter = await proposed(world), world.users[1]
    await all_pinned(operator)
    async with (
        operator.without("providers"),
        with_settings(operator, "indexer", indexer_logs_subscribe=subscribes),
    ):
        await operator.sees_all_ready()
        await voted_elsewhere(world, market, voter)
        began = machine_time()
        await becomes_indexed(operator, market, voter)
        print(f"indexed after {seconds_since(began):.1f} s")
        assert seconds_since(began) <= 5
    await operator.sees_all_ready()


async def test_without_pinata_everything_goes_on_and_is_pinned_later(
    operator: Operator, world: DemoWorld
) -> None:
    operator.reads_row(
        "Pinata, IPFS",
        "questions and evidence are stored and pinned later",
        "snapshots are written down and pinned later",
        "texts of markets that were made elsewhere are fetched later",
    )
    active, creator = await proposed(world), world.users[6]
    await liked(world, active)
    await early.decided(world, active)
    await early.activate(world, active)
    await late.travel(world, RESOLUTION_DELAY_HOURS)
    elsewhere = await pinned_elsewhere(operator, creator)
    await all_pinned(operator)
    client = ImpatientClient(operator, world.users[2])
    async with operator.without("providers"):
        market = await proposed(world)
        await late.resolve(world, active, world.users[10], True)
        await propose_elsewhere(world, creator, elsewhere)
        await until(
            lambda: client.get(f"/api/markets/{elsewhere.market_id}"), lambda answer: answer.is_served()
        )
        assert await _snapshot(operator, active) == 502
        assert (await client.comment(market.id, "without Pinata")).is_served(201)
        await brought(world, "without Pinata")
        assert (await _text(client, elsewhere.market_id)) == ("", "not_available")
        assert not await is_pinned(operator, market.id, "question")
    for market_id, kind in ((market.id, "question"), (active.id, "evidence"), (active.id, "snapshot")):
        await until(partial(is_pinned, operator, market_id, kind), every_s=0.2)
    await until(
        lambda: _text(client, elsewhere.market_id),
        lambda text: text == (elsewhere.question, "available"),
        every_s=0.2,
    )
    await operator.sees_all_ready()


async def _snapshot(operator: Operator, market: MarketPlay) -> int:
    """Request a snapshot of the market as an operator; return the HTTP status."""
    headers = {"authorization": f"Bearer {operator.settings.require('operator_token')}"}
    url = f"http://127.0.0.1:{operator.settings.snapshots_port}/api/snapshots/run"
    return (await operator.http.post(url, json={"market_id": market.id}, headers=headers)).status_code


async def _text(client: ImpatientClient, market_id: str) -> tuple[str, str]:
    """Return the question of a market and its `text_status` from the API."""
    row = json.loads((await client.get(f"/api/markets/{market_id}")).text)
    return row["question"], row["text_status"]
