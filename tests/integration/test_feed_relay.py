"""Tests of the feed: what was committed reaches the stream and every reader once and in commit order.

That holds whatever process or connection ends in between.
"""

import asyncio
from collections.abc import Callable, MutableMapping
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest
from structlog.testing import capture_logs

from kit.database_conditions import DatabaseConditions
from kit.tcp_proxy import TcpProxy
from kit.waiting import until
from zmart.feed import redis_client
from zmart.feed.relay import FeedRelay
from zmart.feed.stream import FeedStream
from zmart.feed.tail import FeedBroken, FeedReader
from zmart.feed.tasks import end
from zmart.feed.wire import WireMessage
from zmart.store import change_feed
from zmart.store.connection import connect
from zmart.store.pool import Pool

MARKET = "ab" * 32
WALLET = "1" * 32
_END_RELAY = """
SELECT pg_terminate_backend(pid) FROM pg_locks
WHERE locktype = 'advisory' AND objid::bigint = $1::bigint & 4294967295
"""
COMMENT = f"INSERT INTO discussions (market_id, wallet, content) VALUES ('{MARKET}', '{WALLET}', $1)"


@pytest.fixture
async def redis(redis_url: str):
    client = redis_client.connect(redis_url)
    yield client
    await client.aclose()


@asynccontextmanager
async def relaying(database_url: str, redis, on_commit: Callable[[], None] = lambda: None):
    relay = FeedRelay(database_url, redis, keep_hours=24, on_commit=on_commit)
    task = asyncio.create_task(relay.run())
    try:
        yield relay
    finally:
        await end([task])


async def read(tail: FeedReader, count: int) -> list[WireMessage]:
    result: list[WireMessage] = []
    async with asyncio.timeout(20):
        while len(result) < count:
            result += await tail.next()
    return result


def contents(messages: list[WireMessage]) -> list[str]:
    return [
        msgspec.json.decode(message.payload("activity"))["data"]["discussion"]["content"]
        for message in messages
    ]


async def test_committed_rows_reach_a_reader_of_the_stream_in_commit_order_once(database_url, pool, redis):
    tail = FeedReader(pool, redis)
    await tail.start()
    async with relaying(database_url, redis, tail.wake):
        for number in range(30):
            await pool.execute(COMMENT, str(number))
        result = await read(tail, 30)
    assert [message.offset for message in result] == list(range(1, 31))
    assert contents(result) == [str(number) for number in range(30)]


async def test_two_relays_write_each_change_once(database_url, pool, redis):
    head = await change_feed.head(pool)
    stream = FeedStream(redis, head.epoch)
    async with relaying(database_url, redis) as first, relaying(database_url, redis) as second:
        for number in range(20):
            await pool.execute(COMMENT, str(number))

        async def carried() -> bool:
            return await stream.last() == 20

        await until(carried)
        assert first.leading != second.leading
    assert await redis.xlen(stream.name) == 20


async def test_the_other_relay_takes_over_when_the_leader_ends(database_url, pool, redis):
    head = await change_feed.head(pool)
    stream = FeedStream(redis, head.epoch)
    async with relaying(database_url, redis) as second_starts_later:
        async with relaying(database_url, redis):
            await pool.execute(COMMENT, "one")
        await pool.execute(COMMENT, "two")

        async def carried() -> bool:
            return await stream.last() == 2

        await until(carried)

        async def leads() -> bool:
            return second_starts_later.leading

        await until(leads)


async def test_the_relay_of_a_process_that_is_stopped_is_taken_over_within_ten_seconds(
    database_url, pool, redis
):
    """The relay's lock is taken over from a stopped process; a leader that has nothing to relay keeps it.

    The session of a stopped process stays open, since the kernel answers in its place.
    """
    stopped = await connect(database_url)
    try:
        assert await change_feed.try_relay_lock(stopped)
        async with relaying(database_url, redis) as first, relaying(database_url, redis) as second:
            await until(lambda: first.leading or second.leading, within_s=10)
            leader = first if first.leading else second
            await asyncio.sleep(8)  # longer than a leader may be silent
            assert (first.leading, second.leading) == (leader is first, leader is second)
    finally:
        stopped.terminate()


async def test_a_relay_that_takes_over_while_redis_hangs_says_so_at_once(database_url, pool, redis_url):
    """Redis on a machine that is paused answers nothing: the relay took 10.1 s, 2 of which it waited for Redis."""
    async with TcpProxy.before(redis_url) as proxy:
        proxy.hang()
        hanging = redis_client.connect(proxy.url, connect_s=60, answer_s=60)
        async with relaying(database_url, hanging) as relay:
            await until(lambda: relay.leading, within_s=10)
        await hanging.aclose()


async def test_appending_again_or_with_a_hole_changes_nothing(redis):
    def messages(*offsets: int) -> list[WireMessage]:
        return [
            WireMessage(offset=n, type="trade", market_id=MARKET, channels=("trades",), tail=b"%d}" % n)
            for n in offsets
        ]

    stream = FeedStream(redis, "an-epoch")
    assert await stream.append(messages(5, 6, 7)) == 7
    assert await stream.append(messages(6, 7, 8)) == 8
    assert await stream.append(messages(11, 12)) == 8
    result = await stream.read_after(0, 10, 10)
    assert [message.offset for message in result] == [5, 6, 7, 8]
    assert result == messages(5, 6, 7, 8)


async def test_without_redis_the_feed_is_read_from_postgresql_and_from_redis_again_later(
    database_url, pool, redis
):
    tail = FeedReader(pool, redis_client.connect("redis://127.0.0.1:1/0"))
    await tail.start()
    async with relaying(database_url, redis, tail.wake):
        await pool.execute(COMMENT, "one")
        assert contents(await read(tail, 1)) == ["one"]
        assert tail.source == "postgresql"
        tail._redis = redis
        tail._stream = FeedStream(redis, tail.epoch)

        async def from_redis() -> bool:
            await pool.execute(COMMENT, "more")
            await read(tail, 1)
            return tail.source == "redis"

        await until(from_redis)


@pytest.mark.parametrize("redis_is_there", [True, False])
async def test_a_reader_behind_reads_postgresql_to_its_end_without_a_pause(pool, redis, redis_is_there):
    """A server that started with an empty Redis took 500 changes in two seconds. Clients that had resumed meanwhile got
    the rest as live messages, faster than they could read, and were disconnected."""
    tail = FeedReader(pool, redis if redis_is_there else redis_client.connect("redis://127.0.0.1:1/0"))
    await tail.start()
    await pool.execute(
        "INSERT INTO discussions (market_id, wallet, content) "
        f"SELECT '{MARKET}', '{WALLET}', n::text FROM generate_series(1, 2250) n"
    )
    first = await read(tail, 1)
    rest = [len(await tail.next()) for _ in range(4)]
    assert [len(first), *rest] == [500, 500, 500, 500, 250]


async def test_a_redis_that_forgot_everything_is_filled_again_and_no_reader_notices(
    database_url, pool, redis
):
    tail = FeedReader(pool, redis)
    await tail.start()
    async with relaying(database_url, redis, tail.wake):
        await pool.execute(COMMENT, "0")
        result = await read(tail, 1)
        await redis.flushall()
        for number in range(1, 10):
            await pool.execute(COMMENT, str(number))
        result += await read(tail, 9)
    assert contents(result) == [str(number) for number in range(10)]


async def test_a_lost_postgresql_connection_is_replaced_and_nothing_is_lost(database_url, pool, redis):
    tail = FeedReader(pool, redis)
    await tail.start()
    async with relaying(database_url, redis, tail.wake):
        await pool.execute(COMMENT, "0")
        result = await read(tail, 1)
        async with pool.transaction() as connection:
            await connection.execute(COMMENT, "1")
            await connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        await pool.execute(COMMENT, "2")
        result += await read(tail, 2)
    assert contents(result) == ["0", "1", "2"]


async def test_a_database_restored_from_a_backup_begins_a_new_epoch(database_url, pool, redis):
    tail = FeedReader(pool, redis)
    await tail.start()
    async with relaying(database_url, redis, tail.wake):
        await pool.execute(COMMENT, "0")
        await read(tail, 1)
    await pool.execute("UPDATE feed_head SET head = 0")
    async with relaying(database_url, redis, tail.wake):
        with pytest.raises(FeedBroken):
            await read(tail, 1)

        async def renewed() -> bool:
            return (await change_feed.head(pool)).epoch != tail.epoch

        await until(renewed)


async def test_a_relay_follows_into_an_epoch_that_another_process_began(database_url, pool, redis):
    """A relay moves to the stream of an epoch that another process began.

    Otherwise readers would take changes of the new epoch for changes of the old one as long as changes come.
    """
    async with relaying(database_url, redis):
        await pool.execute(COMMENT, "0")
        await until(FeedStream(redis, (await change_feed.head(pool)).epoch).last)
        stream = FeedStream(redis, await change_feed.renew_epoch(pool))

        async def follows() -> bool:
            await pool.execute(COMMENT, "one of many")
            return await stream.last() is not None

        await until(follows, every_s=0.1)


async def test_a_reader_that_misses_changes_begins_a_new_epoch_once(pool, redis):
    await pool.execute(COMMENT, "0")
    await pool.execute(COMMENT, "1")
    tails = [FeedReader(pool, redis) for _ in range(2)]
    for tail in tails:
        await tail.start()
    ended = tails[0].epoch
    await change_feed.renew_lost_epoch(pool, ended, 2)
    assert (await change_feed.head(pool)).epoch == ended, "nothing is lost"
    await pool.execute("UPDATE feed_head SET head = 1")
    for tail in tails:
        with pytest.raises(FeedBroken):
            await read(tail, 1)
        await tail.start()
    assert tails[0].epoch == tails[1].epoch != ended


async def test_old_changes_are_pruned_and_what_is_kept_is_told_truly(pool):
    await pool.execute(COMMENT, "old")
    await pool.execute(COMMENT, "older than a day too")
    await pool.execute("UPDATE feed_commits SET committed_at = now() - interval '25 hours'")
    await pool.execute(COMMENT, "new")
    assert await change_feed.prune(pool, keep_hours=24) == 2
    assert await change_feed.prune(pool, keep_hours=24) == 0
    head = await change_feed.head(pool)
    assert (head.kept_from, head.head) == (3, 3)
    assert [change.offset for change in await change_feed.read_after(pool, 2, 10)] == [3]
    assert await pool.fetchval("SELECT count(*) FROM feed_changes") == 1


async def test_a_stream_that_fell_behind_what_is_kept_starts_anew_and_its_readers_are_told(
    database_url, pool, redis
):
    tail = FeedReader(pool, redis)
    await tail.start()
    async with relaying(database_url, redis):
        await pool.execute(COMMENT, "0")
        await read(tail, 1)
    for number in range(1, 4):
        await pool.execute(COMMENT, str(number))
    await pool.execute("UPDATE feed_commits SET committed_at = now() - interval '25 hours'")
    await change_feed.prune(pool, keep_hours=24)
    await pool.execute(COMMENT, "4")
    fresh = FeedReader(pool, redis)
    await fresh.start()
    async with relaying(database_url, redis):
        with pytest.raises(FeedBroken):
            await read(tail, 1)
        await pool.execute(COMMENT, "5")
        assert contents(await read(fresh, 1)) == ["5"]


async def test_a_relay_that_prunes_what_it_had_still_to_relay_starts_the_stream_anew(
    database_url, pool, redis
):
    """After a pause of all relays that is longer than the feed is kept, new changes reach Redis all the same.

    The relay itself prunes: what it has still to relay is there when it begins, and gone when it reads.
    """
    head = await change_feed.head(pool)
    stream = FeedStream(redis, head.epoch)
    async with relaying(database_url, redis):
        await pool.execute(COMMENT, "the last one before the pause")

        async def carried_first() -> bool:
            return await stream.last() == 1

        await until(carried_first)
    await pool.execute(
        "INSERT INTO discussions (market_id, wallet, content) "
        f"SELECT '{MARKET}', '{WALLET}', 'during the pause' FROM generate_series(1, 600)"
    )
    await pool.execute("UPDATE feed_commits SET committed_at = now() - interval '30 hours'")
    async with relaying(database_url, redis):
        await pool.execute(COMMENT, "after the pause")

        async def carried_last() -> bool:
            return await stream.last() == 602

        await until(carried_last, within_s=10)
    assert [message.offset for message in await stream.read_after(0, 10, 10)] == [602]


async def test_old_changes_are_pruned_while_redis_is_away_too(database_url, pool):
    nowhere = redis_client.connect("redis://127.0.0.1:1/0")
    await pool.execute(COMMENT, "old")
    await pool.execute("UPDATE feed_commits SET committed_at = now() - interval '25 hours'")
    async with relaying(database_url, nowhere):

        async def pruned() -> bool:
            return await pool.fetchval("SELECT count(*) FROM feed_changes") == 0

        await until(pruned, within_s=10)


async def test_a_reader_is_closed_once_its_call_to_redis_has_ended(pool, redis, monkeypatch):
    """Closing a reader waits for its call to Redis to end.

    Before Python 3.12 such a call may lose a cancellation, and connect again after the client was closed.
    """
    lost, ended = asyncio.Event(), asyncio.Event()

    async def calling(*_: object) -> list[WireMessage]:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            lost.set()
        try:
            return await asyncio.Event().wait()
        finally:
            ended.set()

    monkeypatch.setattr(FeedStream, "read_after", calling)
    tail = FeedReader(pool, redis)
    await tail.start()
    await tail.next()
    await tail.close()
    assert lost.is_set()
    assert ended.is_set()


async def test_reading_on_from_an_offset_uses_the_indexes(pool):
    await pool.execute(
        "DO $$ BEGIN FOR n IN 1..3000 LOOP INSERT INTO discussions (market_id, wallet, content) "
        f"VALUES ('{MARKET}', '{WALLET}', n::text); COMMIT; END LOOP; END $$"
    )
    await pool.execute("ANALYZE feed_commits, feed_changes")
    plan = "\n".join(row[0] for row in await pool.fetch(f"EXPLAIN {change_feed._AFTER}", 2900, 2950))
    assert "feed_commits_base" in plan
    assert "feed_changes_pkey" in plan
    assert "Seq Scan" not in plan


async def test_votes_say_how_the_count_stands_and_a_vote_on_chain_replaces_the_other(pool):
    vote = (
        "INSERT INTO votes (market_id, kind, wallet, choice, proven, log_index) "
        "VALUES ($1, 'proposal', $2, $3, true, $4)"
    )
    await pool.execute(vote, MARKET, "1" * 32, "for", 0)
    await pool.execute(vote, MARKET, "2" * 32, "for", 1)
    await pool.execute(
        "INSERT INTO onchain_votes VALUES ($1, 'proposal', $2, 'against', 's', 7, now())", MARKET, "2" * 32
    )
    await pool.execute("UPDATE onchain_votes SET choice = 'for' WHERE wallet = $1", "2" * 32)
    await pool.execute("DELETE FROM onchain_votes")  # as after a fork of the chain
    await pool.execute("DELETE FROM votes")
    changes = await change_feed.read_after(pool, 0, 9)
    tallies = [msgspec.json.decode(change.new_row or change.old_row)["tally"] for change in changes]
    assert tallies == [
        {"for": 1, "against": 0, "total": 1},
        {"for": 2, "against": 0, "total": 2},
        {"for": 1, "against": 1, "total": 2},
        {"for": 2, "against": 0, "total": 2},
        {"for": 2, "against": 0, "total": 2},
        {"for": 0, "against": 0, "total": 0},
        {"for": 0, "against": 0, "total": 0},
    ]


async def test_a_relay_whose_redis_takes_no_writes_says_so_without_a_pause_and_logs_it_once(
    database_url, pool, own_valkey
):
    """A Redis that has no memory for writes is reported as an outage until it ends, and logged once.

    Redis answers reads meanwhile.
    """
    redis = redis_client.connect(own_valkey.url())
    try:
        with capture_logs() as lines:
            async with relaying(database_url, redis) as relay:
                await until(lambda: relay.leading)
                await redis.config_set("maxmemory", 1)
                await pool.execute(COMMENT, "not appended yet")
                reason = await until(lambda: relay.outages.reason)
                assert reason.startswith("Appending to Redis waits: Redis accepts no writes")
                appended = redis_client.connect(own_valkey.url())
                assert await appended.dbsize() == 0
                await redis.config_set("maxmemory", 0)
                await until(lambda: not relay.outages.reason)
                assert await appended.dbsize() == 1
                await appended.aclose()
        about = [line["event"] for line in lines if "Appending" in line["event"]]
        assert about == ["Appending to Redis waits", "Appending to Redis continues"]
    finally:
        await redis.aclose()


async def test_a_relay_whose_lock_another_process_took_waits_for_nothing(database_url, pool, own_valkey):
    redis, other = redis_client.connect(own_valkey.url()), await connect(database_url)
    try:
        async with relaying(database_url, redis) as relay:
            await until(lambda: relay.leading)
            await redis.config_set("maxmemory", 1)
            await pool.execute(COMMENT, "not appended yet")
            await until(lambda: relay.outages.reason)
            await pool.execute(_END_RELAY, change_feed._RELAY_LOCK)
            await until(lambda: change_feed.try_relay_lock(other))
            await until(lambda: not relay.outages.reason)
            assert not relay.leading
    finally:
        other.terminate()
        await redis.aclose()


# ---------------------------------------------------------------------------------------------------- without writes


def about(lines: list[MutableMapping[str, Any]]) -> list[str]:
    return [
        line["event"] for line in lines if "The feed relay" in line["event"] or "Pruning" in line["event"]
    ]


@asynccontextmanager
async def read_only(database_url: str):
    conditions = DatabaseConditions(database_url)
    await conditions.set("default_transaction_read_only", "on")
    try:
        yield conditions
    finally:
        await conditions.reset("default_transaction_read_only")


async def test_a_read_only_database_is_relayed_and_said_once(database_url, redis):
    """What is committed by a role that may write reaches Redis; only the pruning waits, and goes on by itself."""
    pool = await Pool.open(database_url)
    stream = FeedStream(redis, (await change_feed.head(pool)).epoch)
    with capture_logs() as lines:
        async with relaying(database_url, redis) as relay:
            await until(lambda: relay.leading)
            async with read_only(database_url) as conditions:
                reason = await until(lambda: relay.outages.reason, lambda said: "accepts no writes" in said)
                assert reason.startswith("Pruning the feed waits")
                await until(lambda: relay.leading)
                await conditions.execute(COMMENT, "by another role")
                await until(lambda: stream.last(), lambda last: last == 1)
                await asyncio.sleep(4)  # several retries
            await until(lambda: not relay.outages.reason, within_s=10)
    await pool.close()
    said = [line for line in about(lines) if "Pruning" in line]
    assert said == ["Pruning the feed waits", "Pruning the feed continues"]
    cuts = 2  # the sessions are ended when the setting is set, and when it is reset
    assert [line["event"] for line in lines].count("feed relay started") <= 1 + cuts


async def test_a_session_that_began_read_only_does_not_keep_the_feed_from_being_pruned(
    database_url, pool, redis
):
    """A host may reset the setting without ending sessions: the relay's own session stays read-only."""
    async with read_only(database_url) as conditions, relaying(database_url, redis) as relay:
        await until(lambda: relay.outages.reason, lambda said: "accepts no writes" in said)
        await conditions.reset_for_new_sessions("default_transaction_read_only")
        await until(lambda: not relay.outages.reason, within_s=10)
        assert relay.leading


async def test_an_outage_of_relays_that_have_to_write_begins_once_and_ends_once(database_url, redis):
    """A restored database needs a new epoch. Two processes take the lock in turn, and neither can write it."""
    await DatabaseConditions(database_url).execute("UPDATE feed_head SET home = 'another database'")
    with capture_logs() as lines:
        async with (
            read_only(database_url),
            relaying(database_url, redis) as first,
            relaying(database_url, redis) as second,
        ):
            for relay in (first, second):
                await until(lambda relay=relay: relay.outages.reason)
                assert relay.outages.reason.startswith("The feed relay waits: PostgreSQL accepts no writes")
            await asyncio.sleep(4)  # several retries
            assert not first.leading
            assert not second.leading
            await DatabaseConditions(database_url).reset("default_transaction_read_only")
            await until(lambda: first.leading or second.leading, within_s=10)
            await until(lambda: not (first.outages.reason or second.outages.reason), within_s=10)
    said = [line["event"] for line in lines if line["event"] == "The feed relay continues"]
    assert len(said) == 2, "once in each process"
    reasons = [line["reason"] for line in lines if line["event"] == "The feed relay waits"]
    assert len(reasons) <= 4, "in each process the outage, and that its session was ended"
    assert [line["event"] for line in lines].count("feed relay stopped") <= 1
