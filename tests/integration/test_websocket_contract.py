"""Tests of the live feed as its clients see it: requests, answers, their order, and what is refused."""

import asyncio
import json
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest
import websockets
from websockets.asyncio.client import ClientConnection, connect

from kit import rows
from kit.sockets import serving
from kit.waiting import until
from zmart.feed.channels import Channel, ChannelKind, ChannelName
from zmart.feed.tail import FeedReader
from zmart.services.websocket import service as service_module
from zmart.services.websocket.connection import SocketConnection, Subscription
from zmart.services.websocket.hub import SocketHub
from zmart.services.websocket.limits import SocketLimits
from zmart.services.websocket.metrics import closed
from zmart.services.websocket.protocol import SubscribeRequest, SubscriptionTarget
from zmart.services.websocket.service import WebSocketService
from zmart.services.websocket.state import ChannelStates
from zmart.services.websocket.subscriptions import Subscriptions
from zmart.settings import Settings, load_settings
from zmart.store import change_feed

MARKET = "ab" * 32
OTHER = "cd" * 32
ADDRESS = "MarketAddress" + "1" * 30
WALLET = "1" * 32
_COMMENT = f"INSERT INTO discussions (market_id, wallet, content) VALUES ($1, '{WALLET}', $2)"


@pytest.fixture
def settings(database_url: str, redis_url: str) -> Settings:
    return load_settings(
        zmart_env="local", database_url=database_url, redis_url=redis_url, ws_port=0, ws_heartbeat_s=30
    )


@asynccontextmanager
async def client(service: WebSocketService) -> AsyncIterator[ClientConnection]:
    async with connect(f"ws://127.0.0.1:{service.port}/any/path", compression=None) as socket:
        welcome = await receive(socket)
        assert welcome["type"] == "welcome"
        yield socket


async def receive(socket: ClientConnection) -> dict:
    async with asyncio.timeout(10):
        return json.loads(await socket.recv())


async def ask(socket: ClientConnection, **message: object) -> dict:
    await socket.send(json.dumps(message))
    return await receive(socket)


async def closed_with(socket: ClientConnection) -> int:
    async with asyncio.timeout(10):
        with pytest.raises(websockets.ConnectionClosed):
            while True:
                await socket.recv()
    return socket.close_code


async def test_a_client_is_welcomed_with_epoch_heartbeat_and_limits(settings, pool):
    async with serving(settings) as service, connect(f"ws://127.0.0.1:{service.port}") as socket:
        welcome = await receive(socket)
        assert welcome["type"] == "welcome"
        assert set(welcome) == {"type", "channel", "epoch", "offset", "timestamp", "data"}
        data = welcome["data"]
        assert data["client_id"].startswith("client_")
        assert data["message"] == "Connected to ZMART WebSocket server"
        assert data["epoch"] == welcome["epoch"] == (await change_feed.head(pool)).epoch
        assert data["heartbeat_ms"] == 30_000
        assert data["limits"]["frame_bytes"] == 65_536
        assert (data["limits"]["subscriptions"], data["limits"]["messages_per_s"]) == (200, 20)
        assert "Sec-WebSocket-Extensions" not in socket.response.headers


async def test_subscribing_by_market_id_gives_the_row_and_then_everything_about_it(settings, pool):
    await rows.add_markets(pool, [rows.market_fold(MARKET, address=ADDRESS)])
    async with serving(settings) as service, client(service) as socket:
        answer = await ask(socket, action="subscribe", market_id=MARKET)
        assert answer["type"] == "market_state"
        assert answer["market_id"] == MARKET
        assert answer["data"]["message"] == f"Subscribed to market {MARKET}"
        assert answer["data"]["subscriptions"] == [MARKET]
        assert answer["data"]["snapshot"]["on_chain_address"] == ADDRESS
        assert answer["data"]["snapshot"]["current_price_yes"] == "0.500000000"
        # U13: the first web client reads these here, and a comment's text at the top
        assert [answer["data"][name] for name in ("priceYes", "priceNo", "totalShares")] == [0.5, 0.5, 0]
        assert answer["offset"] == 1
        await pool.execute("UPDATE markets SET state = 'RESOLVING', shares_yes = 5")
        await rows.add_trades(pool, [rows.trade_fold(MARKET, WALLET, signature="sig", cost_lamports=7)])
        await pool.execute(_COMMENT, OTHER, "of another market")
        await pool.execute(_COMMENT, MARKET, "hello")
        state, trade, comment = [await receive(socket) for _ in range(3)]
        assert (state["type"], state["data"]["old_state"], state["data"]["new_state"]) == (
            "market_state",
            "ACTIVE",
            "RESOLVING",
        )
        assert state["data"]["totalShares"] == 5
        assert (trade["type"], trade["data"]["tx_signature"], trade["data"]["cost"]) == ("trade", "sig", 7)
        assert (comment["type"], comment["data"]["discussion"]["content"]) == ("discussion", "hello")
        assert comment["data"]["content"] == "hello"
        assert [message["offset"] for message in (state, trade, comment)] == [2, 3, 5]
        assert {message["channel"] for message in (state, trade, comment)} == {f"market:{MARKET}"}


async def test_a_market_may_be_named_by_its_address(settings, pool):
    await rows.add_markets(pool, [rows.market_fold(MARKET, address=ADDRESS)])
    async with serving(settings) as service, client(service) as socket:
        answer = await ask(socket, action="subscribe", market_id=ADDRESS)
        assert answer["data"]["message"] == f"Subscribed to market {ADDRESS}"
        assert (answer["market_id"], answer["data"]["subscriptions"]) == (MARKET, [MARKET])
        answer = await ask(socket, action="subscribe", channel=f"discussions:{ADDRESS}")
        assert (answer["type"], answer["channel"]) == ("subscribed", f"discussions:{MARKET}")
        answer = await ask(socket, action="subscribe", channel=f"votes:{MARKET.upper()}")
        assert (answer["type"], answer["channel"]) == ("subscribed", f"votes:{MARKET}")
        unknown = await ask(socket, action="subscribe", market_id="A" * 44)
        assert (unknown["type"], unknown["data"]["code"]) == ("error", "unknown_market")


async def test_subscribing_twice_is_harmless(settings, pool):
    async with serving(settings) as service, client(service) as socket:
        for _ in range(3):
            answer = await ask(socket, action="subscribe", market_id=MARKET)
            assert answer["data"]["subscriptions"] == [MARKET]
        await pool.execute(_COMMENT, MARKET, "once")
        assert (await receive(socket))["data"]["discussion"]["content"] == "once"
        assert (await ask(socket, action="ping"))["type"] == "pong"


async def test_after_unsubscribing_nothing_more_comes(settings, pool):
    async with serving(settings) as service, client(service) as socket:
        await ask(socket, action="subscribe", market_id=MARKET)
        await ask(socket, action="subscribe", channel="trades")
        answer = await ask(socket, action="unsubscribe", market_id=MARKET)
        assert answer["type"] == "market_state"
        assert answer["data"]["message"] == f"Unsubscribed from market {MARKET}"
        assert answer["data"]["subscriptions"] == ["trades"]
        await pool.execute(_COMMENT, MARKET, "not for us")
        answer = await ask(socket, action="unsubscribe", channel="trades")
        assert (answer["type"], answer["data"]["subscriptions"]) == ("unsubscribed", [])
        await rows.add_trades(pool, [rows.trade_fold(MARKET, WALLET, signature="sig", cost_lamports=7)])
        assert (await ask(socket, action="ping"))["type"] == "pong"


@pytest.mark.parametrize(
    ("channel", "empty"),
    [
        ("markets", {"count": 0, "markets": []}),
        ("trades", []),
        (f"trades:{MARKET}", []),
        (f"discussions:{MARKET}", []),
        (f"market:{MARKET}", None),
        ("activity", []),
        (
            f"votes:{MARKET}",
            {"tally": {kind: {"for": 0, "against": 0, "total": 0} for kind in ("proposal", "dispute")}},
        ),
    ],
)
async def test_every_channel_begins_fresh_with_its_state(settings, channel, empty):
    async with serving(settings) as service, client(service) as socket:
        answer = await ask(socket, action="subscribe", channel=channel)
        assert (answer["type"], answer["channel"]) == ("subscribed", channel)
        data = answer["data"]
        assert (data["outcome"], data["offset"], data["snapshot"]) == ("fresh", 0, empty)
        assert data["epoch"] == answer["epoch"]


async def test_plain_sql_of_many_writers_reaches_a_subscriber_in_commit_order_once(settings, pool):
    async with serving(settings) as service, client(service) as socket:
        await ask(socket, action="subscribe", channel="activity")

        async def write(writer: int) -> None:
            for number in range(25):
                await pool.execute(_COMMENT, MARKET, f"{writer}.{number}")

        await asyncio.gather(*(write(writer) for writer in range(4)))
        messages = [await receive(socket) for _ in range(100)]
        assert [message["offset"] for message in messages] == list(range(1, 101))
        committed = [
            json.loads(row["new_row"])["content"]
            for row in await pool.fetch('SELECT new_row FROM change_feed ORDER BY "offset"')
        ]
        assert [message["data"]["discussion"]["content"] for message in messages] == committed


async def test_snapshot_and_messages_join_without_hole_or_overlap_under_writes(settings, pool):
    await rows.add_markets(pool, [rows.market_fold(MARKET, address=ADDRESS)])
    async with serving(settings) as service:
        done = asyncio.Event()

        async def write() -> None:
            while not done.is_set():
                await pool.execute("UPDATE markets SET trades_count = trades_count + 1")

        async def watch() -> None:
            async with client(service) as socket:
                answer = await ask(socket, action="subscribe", market_id=MARKET)
                expected = answer["data"]["snapshot"]["trades_count"]
                for _ in range(20):
                    expected += 1
                    assert (await receive(socket))["data"]["market"]["trades_count"] == expected

        writing = asyncio.create_task(write())
        try:
            await asyncio.gather(*(watch() for _ in range(12)))
        finally:
            done.set()
            await writing


async def test_a_state_that_is_asked_for_again_is_followed_by_what_it_lacks(settings, pool):
    """A state is shared for a second, so it may be older than changes that the client has received already.

    The client replaces what it shows by the state: it gets these changes again.
    """
    await rows.add_markets(pool, [rows.market_fold(MARKET, address=ADDRESS)])
    async with serving(settings) as service, client(service) as socket:
        await ask(socket, action="subscribe", market_id=MARKET)
        for number in (1, 2):
            await pool.execute("UPDATE markets SET trades_count = $1", number)
            assert (await receive(socket))["data"]["market"]["trades_count"] == number
        answer = await ask(socket, action="subscribe", market_id=MARKET)
        shown, offset = answer["data"]["snapshot"]["trades_count"], answer["offset"]
        await socket.send(json.dumps({"action": "ping"}))
        while (message := await receive(socket))["type"] != "pong":
            assert message["offset"] == offset + 1
            shown, offset = message["data"]["market"]["trades_count"], message["offset"]
        assert (shown, offset) == (2, (await change_feed.head(pool)).head)
        await pool.execute("UPDATE markets SET trades_count = 3")
        assert (await receive(socket))["data"]["market"]["trades_count"] == 3
        assert (await ask(socket, action="ping"))["type"] == "pong"


async def test_a_resume_replays_what_was_missed_from_memory_and_from_postgresql(settings, pool):
    for number in range(5):
        await pool.execute(_COMMENT, MARKET, str(number))
    epoch = (await change_feed.head(pool)).epoch
    channel = f"discussions:{MARKET}"
    async with serving(settings) as service:  # starts behind these five: they come out of PostgreSQL
        for _ in range(2):
            async with client(service) as socket:
                answer = await ask(socket, action="subscribe", channel=channel, epoch=epoch, offset=2)
                assert answer["data"] == {"epoch": epoch, "offset": 2, "outcome": "replayed"}
                assert [(await receive(socket))["offset"] for _ in range(3)] == [3, 4, 5]
        async with client(service) as socket:
            await ask(socket, action="subscribe", channel=channel)
            await pool.execute(_COMMENT, MARKET, "5")
            await pool.execute(_COMMENT, OTHER, "not of this channel")
            await pool.execute(_COMMENT, MARKET, "7")
            live = [await receive(socket) for _ in range(2)]
        async with client(service) as socket:  # these come out of memory
            await ask(socket, action="subscribe", channel=channel, epoch=epoch, offset=5)
            assert [await receive(socket) for _ in range(2)] == live
            answer = await ask(socket, action="subscribe", channel="markets", epoch=epoch, offset=8)
            assert answer["data"]["outcome"] == "replayed"


async def test_a_replay_of_more_than_a_page_is_complete_and_in_order(settings, pool):
    await pool.execute(
        "DO $$ BEGIN FOR n IN 1..50 LOOP INSERT INTO discussions (market_id, wallet, content) "
        f"SELECT '{MARKET}', '{WALLET}', repeat('x', 900) FROM generate_series(1, 120); COMMIT; END LOOP; END $$"
    )
    epoch = (await change_feed.head(pool)).epoch
    async with serving(settings) as service, client(service) as socket:
        await ask(socket, action="subscribe", channel="activity", epoch=epoch, offset=0)
        offsets = [(await receive(socket))["offset"] for _ in range(3000)]
        await pool.execute(_COMMENT, MARKET, "live")
        offsets += [(await receive(socket))["offset"] for _ in range(3001)]
        assert offsets == list(range(1, 6002))


@pytest.mark.parametrize("reason", ["another epoch", "pruned", "from the future"])
async def test_what_cannot_be_replayed_is_called_a_gap_and_the_state_follows(settings, pool, reason):
    for number in range(3):
        await pool.execute(_COMMENT, MARKET, str(number))
    epoch, offset = (await change_feed.head(pool)).epoch, 1
    if reason == "another epoch":
        epoch = str(uuid.uuid4())
    elif reason == "pruned":
        await pool.execute(
            "UPDATE feed_commits SET committed_at = now() - interval '25 hours' WHERE base_offset < 2"
        )
        await change_feed.prune(pool, keep_hours=24)
    else:
        offset = 99
    async with serving(settings) as service, client(service) as socket:
        gap = await ask(
            socket, action="subscribe", channel=f"discussions:{MARKET}", epoch=epoch, offset=offset
        )
        assert (gap["type"], gap["data"]) == ("gap", {"from": offset + 1, "to": 3})
        answer = await receive(socket)
        assert (answer["type"], answer["data"]["outcome"], answer["data"]["offset"]) == (
            "subscribed",
            "gap",
            3,
        )
        assert [comment["content"] for comment in answer["data"]["snapshot"]] == ["0", "1", "2"]
        await pool.execute(_COMMENT, MARKET, "3")
        assert (await receive(socket))["offset"] == 4


async def test_who_resumes_while_a_new_epoch_begins_is_sent_away_and_told_of_the_gap(
    settings, pool, monkeypatch
):
    """A client that resumes before a new epoch has begun is closed with 1012, and told of the gap when it comes back.

    After a fail-over a server knows that its epoch is over, and waits for the database for the new one.
    """
    await pool.execute(_COMMENT, MARKET, "0")
    epoch = (await change_feed.head(pool)).epoch
    resume = {"action": "subscribe", "channel": f"discussions:{MARKET}", "epoch": epoch, "offset": 0}
    starting, may_start, start = asyncio.Event(), asyncio.Event(), FeedReader.start

    async def start_late(reader: FeedReader, back: int = 0) -> int:
        starting.set()
        await may_start.wait()
        return await start(reader, back)

    async with serving(settings) as service:
        monkeypatch.setattr(FeedReader, "start", start_late)
        await change_feed.renew_epoch(pool)
        async with asyncio.timeout(10):
            await starting.wait()
        async with client(service) as socket:
            await ask(socket, **resume)
            may_start.set()
            assert await closed_with(socket) == 1012
        async with client(service) as socket:
            assert (await ask(socket, **resume))["type"] == "gap"
            assert (await receive(socket))["data"]["outcome"] == "gap"


async def test_a_database_that_hangs_while_a_new_epoch_begins_is_asked_again(settings, pool, monkeypatch):
    """The start of a new epoch is given up and repeated if the database hangs.

    Until then clients get neither messages nor notice that their epoch has ended.
    """
    start, calls = FeedReader.start, []

    async def start_or_hang(reader: FeedReader, back: int = 0) -> int:
        calls.append(back)
        if len(calls) == 1:
            await asyncio.Event().wait()
        return await start(reader, back)

    monkeypatch.setattr(service_module, "START_WITHIN_S", 0.2)
    async with serving(settings) as service, client(service) as socket:
        monkeypatch.setattr(FeedReader, "start", start_or_hang)
        await change_feed.renew_epoch(pool)
        assert await closed_with(socket) == 1012
        assert len(calls) == 2


class MutedTransport(asyncio.Transport):
    """A transport that drops what is written."""

    def write(self, data: bytes) -> None:
        pass

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass


class Subscriber:
    """A client of a hub without a socket; `sent` has the messages that it was sent."""

    def __init__(self, pool, epoch: str) -> None:
        self.hub = SocketHub()
        self.hub.begin(epoch, 1)
        self.states = ChannelStates(pool)
        self.subscriptions = Subscriptions(self.hub, self.states, pool, SocketLimits())
        self.sent: list[dict] = []
        self.connection = SocketConnection(MutedTransport(), "client_1", "198.51.100.1", SocketLimits())
        self.connection.send = lambda payload: self.sent.append(json.loads(payload))

    async def resume(self, epoch: str, offset: int) -> list[str]:
        """Resume DISCUSSIONS, and return the codes of errors and the types of the other answers."""
        self.sent.clear()
        target = SubscriptionTarget(ChannelName(ChannelKind.DISCUSSIONS, MARKET), by_market=False)
        await self.subscriptions.subscribe(self.connection, SubscribeRequest(target, epoch, offset))
        return [each["data"].get("code", each["type"]) for each in self.sent]


DISCUSSIONS = Channel(ChannelKind.DISCUSSIONS, MARKET)


async def test_who_resumes_in_a_new_epoch_gets_its_state_though_one_of_the_old_epoch_is_fresh(pool):
    """A client that resumes in a new epoch gets the state of that epoch, also while one of the old epoch is shared.

    Subscribers share a state for a second. After a refusal, a client that does not ask again would have no state.
    """
    await pool.execute(_COMMENT, MARKET, "0")
    ended = (await change_feed.head(pool)).epoch
    subscriber = Subscriber(pool, ended)
    await subscriber.states.state(DISCUSSIONS, ended)
    reading = asyncio.create_task(subscriber.states._shared_read(DISCUSSIONS))  # begins in the old epoch
    await asyncio.sleep(0)
    began = await change_feed.renew_epoch(pool)
    subscriber.hub.begin(began, 1)
    assert await subscriber.resume(ended, 0) == ["gap", "subscribed"]
    assert [each["epoch"] for each in subscriber.sent] == [began, began]
    await reading


async def test_a_gap_is_reported_once_by_a_server_that_has_not_begun_the_new_epoch_yet(pool):
    await pool.execute(_COMMENT, MARKET, "0")
    ended = (await change_feed.head(pool)).epoch
    subscriber = Subscriber(pool, ended)
    await subscriber.states.state(DISCUSSIONS, ended)  # it is fresh, but of an epoch that ends
    began = await change_feed.renew_epoch(pool)
    assert await subscriber.resume(str(uuid.uuid4()), 0) == ["unavailable"]
    assert await subscriber.resume(began, 0) == ["unavailable"]
    subscriber.hub.begin(began, 1)
    assert await subscriber.resume(ended, 0) == ["gap", "subscribed"]


async def test_a_gap_is_reported_once_if_the_new_epoch_begins_between_two_reads(pool, monkeypatch):
    ended = (await change_feed.head(pool)).epoch
    subscriber = Subscriber(pool, ended)
    read_head = change_feed.head

    async def head_of_the_old_epoch(db) -> change_feed.FeedHead:
        head = await read_head(db)
        await change_feed.renew_epoch(pool)
        return head

    monkeypatch.setattr(change_feed, "head", head_of_the_old_epoch)
    assert await subscriber.resume(str(uuid.uuid4()), 0) == ["unavailable"]


@pytest.mark.parametrize("why", ["a new epoch", "unsubscribed"])
async def test_a_gap_within_a_replay_is_not_reported_to_who_is_to_leave_or_has_unsubscribed(pool, why):
    subscriber = Subscriber(pool, (await change_feed.head(pool)).epoch)
    subscription = Subscription(DISCUSSIONS, by_market=False, active=why != "unsubscribed")
    if why == "a new epoch":
        await change_feed.renew_epoch(pool)
    replayed = subscriber.subscriptions._gap_during_replay(subscriber.connection, subscription, 7)
    assert (await replayed, subscriber.sent) == (7, [])


async def test_a_database_that_lost_changes_begins_a_new_epoch_before_clients_resume(settings, pool):
    """A database that lost changes begins a new epoch before clients resume, since other changes get the same offsets.

    That happens at a fail-over that the server notices before any relay.
    """
    for number in range(3):
        await pool.execute(_COMMENT, MARKET, str(number))
    ended = (await change_feed.head(pool)).epoch
    channel = f"discussions:{MARKET}"
    async with serving(settings) as service:
        async with client(service) as socket:
            await ask(socket, action="subscribe", channel=channel)
            await pool.execute("DELETE FROM feed_commits WHERE base_offset >= 1")
            await pool.execute("UPDATE feed_head SET head = 1")
            assert await closed_with(socket) == 1012
        for content in ("other 1", "other 2"):
            await pool.execute(_COMMENT, MARKET, content)
        async with client(service) as socket:
            answer = await ask(socket, action="subscribe", channel=channel, epoch=ended, offset=3)
            assert answer["type"] == "gap"
            assert (await receive(socket))["epoch"] != ended


@pytest.mark.parametrize(
    ("message", "error", "code"),
    [
        ('{"action":"subscribe"}', "market_id required for subscribe action", "market_id_required"),
        ('{"action":"subscribe","market_id":""}', "market_id required for subscribe action", "market_id_required"),
        ('{"action":"unsubscribe"}', "market_id required for unsubscribe action", "market_id_required"),
        ('{"action":"dance"}', "Unknown action: dance", "unknown_action"),
        ('{"action":"%s"}' % ("x" * 5000), "Unknown action: " + "x" * 64, "unknown_action"),
        ("not json", "Invalid message format", "invalid_message"),
        ("[1,2]", "Invalid message format", "invalid_message"),
        ("{}", "Invalid message format", "invalid_message"),
        ('{"action":"subscribe","market_id":7}', "Invalid message format", "invalid_message"),
        ('{"action":"subscribe","channel":"trades","offset":-1}', "Invalid message format", "invalid_message"),
        (b"\xff\xfe", "Invalid message format", "invalid_message"),
        ('{"action":"subscribe","channel":"nonsense"}', "Unknown channel: nonsense", "unknown_channel"),
        ('{"action":"subscribe","market_id":"market-123"}', "Unknown market: market-123", "unknown_market"),
        ('{"action":"subscribe","market_id":"%s"}' % (r"\u0000" * 40), f"Unknown market: {chr(0) * 40}",
         "unknown_market"),
    ],
)  # fmt: skip
async def test_every_error_has_its_text_and_code_and_the_connection_stays(settings, message, error, code):
    async with serving(settings) as service, client(service) as socket:
        await socket.send(message)
        answer = await receive(socket)
        assert (answer["type"], answer["data"]) == ("error", {"error": error, "code": code})
        assert (await ask(socket, action="ping"))["type"] == "pong"


async def test_a_message_in_fragments_is_one_message(settings):
    async with serving(settings) as service, client(service) as socket:
        await socket.send(iter(['{"act', 'ion":"', 'ping"}']))
        assert (await receive(socket))["type"] == "pong"


@pytest.mark.parametrize("parts", [["x" * 65_537], ["x" * 40_000, "x" * 40_000]])
async def test_a_message_over_64_kib_is_an_error_and_the_end(settings, parts):
    async with serving(settings) as service, client(service) as socket:
        await socket.send(iter(parts) if len(parts) > 1 else parts[0])
        assert (await receive(socket))["data"]["code"] == "frame_too_large"
        assert await closed_with(socket) == 1008


async def test_more_than_20_messages_a_second_are_an_error_and_the_end(settings):
    async with serving(settings) as service, client(service) as socket:
        for _ in range(25):
            await socket.send('{"action":"pong"}')
        assert (await receive(socket))["data"]["code"] == "rate_limited"
        assert await closed_with(socket) == 1008


async def test_one_subscription_too_many_is_an_error_and_the_end(settings):
    limits = SocketLimits(subscriptions=3)
    async with serving(settings, limits) as service, client(service) as socket:
        for number in range(3):
            await ask(socket, action="subscribe", market_id=f"{number:064x}")
        answer = await ask(socket, action="subscribe", market_id=f"{9:064x}")
        assert answer["data"]["code"] == "too_many_subscriptions"
        assert await closed_with(socket) == 1008


@pytest.mark.parametrize("limits", [{"connections_per_process": 1}, {"connections_per_address": 1}])
async def test_one_connection_too_many_is_told_and_closed_and_a_place_becomes_free_again(settings, limits):
    async with serving(settings, SocketLimits(**limits)) as service:
        url = f"ws://127.0.0.1:{service.port}"
        async with client(service), connect(url) as second:
            assert (await receive(second))["data"]["code"] == "too_many_connections"
            assert await closed_with(second) == 1008
        await until(lambda: not service._hub.connections)
        async with client(service):
            pass


async def test_a_slow_reader_of_the_tape_is_closed_with_4008_resumes_and_nobody_else_waits(settings, pool):
    async with serving(settings, SocketLimits(queue_bytes=50_000)) as service:
        url = f"ws://127.0.0.1:{service.port}"
        async with client(service) as quick, connect(url, max_queue=1) as slow:
            await receive(slow)
            answer = await ask(slow, action="subscribe", channel="activity")
            await ask(quick, action="subscribe", channel="activity")
            slow.transport.pause_reading()

            async def read_all() -> list[int]:
                return [(await receive(quick))["offset"] for _ in range(10_000)]

            too_slow = closed.labels("4008")._value
            before = too_slow.get()

            async def read_once_closed() -> list[int]:
                """Wait until the server gives up the slow client, and return the offsets that the client still reads.

                The server waits for the client, which begins to read at once.
                """
                await until(lambda: too_slow.get() > before)
                slow.transport.resume_reading()
                result: list[int] = []
                with pytest.raises(websockets.ConnectionClosed):
                    while True:
                        result.append((await receive(slow))["offset"])
                return result

            reading, resuming = asyncio.create_task(read_all()), asyncio.create_task(read_once_closed())
            for _ in range(40):
                await pool.execute(
                    "INSERT INTO discussions (market_id, wallet, content) "
                    f"SELECT '{MARKET}', '{WALLET}', repeat('x', 1000) FROM generate_series(1, 250)"
                )
            assert await reading == list(range(1, 10_001))
            offsets = await resuming
            assert slow.close_code == 4008
            assert offsets == list(range(1, len(offsets) + 1))
        async with client(service) as second_result:
            last = offsets[-1]
            await ask(
                second_result, action="subscribe", channel="activity", epoch=answer["epoch"], offset=last
            )
            rest = [(await receive(second_result))["offset"] for _ in range(10_000 - last)]
            assert offsets + rest == list(range(1, 10_001))


async def closed_as_too_slow(socket, pool) -> None:
    """Have the server close a client that reads nothing, with code 4008."""
    too_slow = closed.labels("4008")._value
    before = too_slow.get()
    await receive(socket)
    await ask(socket, action="subscribe", channel="activity")
    socket.transport.pause_reading()
    while too_slow.get() == before:
        await pool.execute(
            "INSERT INTO discussions (market_id, wallet, content) "
            f"SELECT '{MARKET}', '{WALLET}', repeat('x', 1000) FROM generate_series(1, 250)"
        )


async def test_a_client_that_reads_on_seconds_after_it_was_too_slow_sees_4008(settings, pool):
    """The close frame of any other code is given up after 3 s; that of a slow reader comes after much else."""
    limits = SocketLimits(queue_bytes=50_000)
    async with (
        serving(settings, limits) as service,
        connect(f"ws://127.0.0.1:{service.port}", max_queue=1) as slow,
    ):
        await closed_as_too_slow(slow, pool)
        await asyncio.sleep(4)
        slow.transport.resume_reading()
        assert await closed_with(slow) == 4008


async def test_a_client_that_never_reads_is_cut_after_its_time(settings, pool):
    limits = SocketLimits(queue_bytes=50_000, slow_close_s=0.2)
    async with (
        serving(settings, limits) as service,
        connect(f"ws://127.0.0.1:{service.port}", max_queue=1) as slow,
    ):
        await closed_as_too_slow(slow, pool)
        await until(lambda: not service._hub.connections)
        slow.transport.resume_reading()
        assert await closed_with(slow) == 1006


async def test_a_slow_reader_of_markets_gets_the_latest_of_each_market_and_stays(settings, pool):
    await rows.add_markets(pool, [rows.market_fold(MARKET, address=ADDRESS)])
    await rows.add_markets(pool, [rows.market_fold(OTHER, address="B" * 44)])
    async with serving(settings, SocketLimits(queue_bytes=50_000)) as service:
        url = f"ws://127.0.0.1:{service.port}"
        async with connect(url, max_queue=1) as slow:
            await receive(slow)
            await ask(slow, action="subscribe", channel="markets")
            slow.transport.pause_reading()
            await pool.execute(
                "DO $$ BEGIN FOR n IN 1..8000 LOOP UPDATE markets SET total_volume = n; COMMIT; END LOOP; END $$"
            )
            await until(lambda: service._hub.position >= 16_002)
            slow.transport.resume_reading()
            latest: dict[str, int] = {}
            seen = last_offset = 0
            while latest != {MARKET: 8000, OTHER: 8000}:
                message = await receive(slow)
                latest[message["market_id"]] = message["data"]["market"]["total_volume"]
                assert message["offset"] > last_offset
                last_offset = message["offset"]
                seen += 1
            assert seen < 16_000


async def test_pings_come_regularly_and_who_does_not_answer_is_closed(settings):
    quick = settings.model_copy(update={"ws_heartbeat_s": 0.2})
    async with serving(quick) as service, client(service) as alive:
        reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
        writer.write(
            b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        async with asyncio.timeout(10):
            received = await reader.read()  # until the server ends it
        assert b"\x89\x00" in received
        assert b"no answer to our pings" in received
        assert (await ask(alive, action="ping"))["type"] == "pong"
        writer.close()


async def test_a_restart_closes_with_1012_and_a_time_to_come_back(settings):
    async with serving(settings) as service:
        socket = await connect(f"ws://127.0.0.1:{service.port}")
        await receive(socket)
    assert await closed_with(socket) == 1012
    assert int(socket.close_reason.partition("retry_ms=")[2]) > 0


async def test_health_readiness_and_metrics_are_plain_http_on_the_same_port(settings):
    async with serving(settings) as service, httpx.AsyncClient() as http, client(service):
        base = f"http://127.0.0.1:{service.port}"
        health = (await http.get(f"{base}/health")).json()
        assert (health["status"], health["service"], health["connections"]) == ("ok", "websocket", 1)
        ready = await http.get(f"{base}/ready")
        assert (ready.status_code, ready.json()["ready"]) == (200, True)
        assert "zmart_websocket_connections 1.0" in (await http.get(f"{base}/metrics")).text
        assert (await http.get(f"{base}/")).status_code == 426
        described = (await http.get(f"{base}/asyncapi.json")).json()
        assert described["servers"]["socket"]["host"] == f"127.0.0.1:{service.port}"


async def test_addresses_behind_a_trusted_proxy_are_counted_apart(settings):
    trusting = settings.model_copy(update={"trusted_proxies": "127.0.0.0/8"})
    async with serving(trusting, SocketLimits(connections_per_address=1)) as service:
        url = f"ws://127.0.0.1:{service.port}"
        first = connect(url, additional_headers={"X-Forwarded-For": "9.9.9.9, 203.0.113.1"})
        second = connect(url, additional_headers={"X-Forwarded-For": "203.0.113.2"})
        second_result = connect(url, additional_headers={"X-Forwarded-For": "203.0.113.1"})
        async with first as one, second as two, second_result as three:
            assert [(await receive(each))["type"] for each in (one, two, three)] == [
                "welcome",
                "welcome",
                "error",
            ]
