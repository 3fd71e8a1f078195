"""U15: tests of subscriptions in the socket's URL, for clients that only know an address."""

from __future__ import annotations

import asyncio
import json

import msgspec
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosedError

from kit import rows
from kit.database_conditions import DatabaseConditions
from kit.sockets import serving
from zmart.services.websocket import state
from zmart.services.websocket.protocol import (
    CHANNELS_IN_URL,
    RefusedRequest,
    SubscribeRequest,
    parse,
    parse_query,
)
from zmart.settings import Settings, load_settings
from zmart.store import change_feed

MARKET, ADDRESS, WALLET = "ab" * 32, "MarketAddress" + "1" * 30, "1" * 32
_COMMENT = f"INSERT INTO discussions (market_id, wallet, content) VALUES ('{MARKET}', '{WALLET}', $1)"


@pytest.fixture
def settings(database_url: str, redis_url: str) -> Settings:
    return load_settings(zmart_env="local", database_url=database_url, redis_url=redis_url, ws_port=0)


async def received(url: str, number: int, **options: object) -> list[dict]:
    """Return the first `number` messages of a client that sends nothing."""
    async with asyncio.timeout(10), connect(url, compression=None, **options) as socket:
        return [json.loads(await socket.recv()) for _ in range(number)]


async def test_a_client_that_sends_nothing_gets_the_channels_of_its_url(settings, pool):
    await rows.add_markets(pool, [rows.market_fold(MARKET, address=ADDRESS)])
    async with serving(settings) as service:
        url = f"ws://127.0.0.1:{service.port}/any?x=1&channels=markets,discussions:{ADDRESS}&path=ws"
        async with asyncio.timeout(10), connect(url, compression=None) as socket:
            welcome, markets, comments = [json.loads(await socket.recv()) for _ in range(3)]
            await pool.execute(_COMMENT, "live")
            change = json.loads(await socket.recv())
        assert [m["type"] for m in (welcome, markets, comments)] == ["welcome", "subscribed", "subscribed"]
        assert (markets["channel"], markets["data"]["snapshot"]["count"]) == ("markets", 1)
        assert (comments["channel"], change["channel"]) == (f"discussions:{MARKET}",) * 2
        assert change["data"]["content"] == "live"


async def test_a_url_resumes_from_an_offset(settings, pool):
    async with serving(settings) as service:
        base = f"ws://127.0.0.1:{service.port}/?channels=discussions:{MARKET}"
        [_, begun] = await received(base, 2)
        for content in ("one", "two"):
            await pool.execute(_COMMENT, content)
        position = f"&epoch={begun['epoch']}&offset={begun['offset']}"
        [_, resumed, *missed] = await received(base + position, 4)
        assert resumed["data"]["outcome"] == "replayed"
        assert [message["data"]["content"] for message in missed] == ["one", "two"]


async def test_a_url_that_names_what_there_is_not_is_told_so_and_the_rest_holds(settings, pool):
    async with serving(settings) as service:
        url = f"ws://127.0.0.1:{service.port}/?channels=nothing,markets"
        messages = await received(url, 3)
        assert [(m["type"], m["data"].get("code")) for m in messages[1:]] == [
            ("error", "unknown_channel"), ("subscribed", None)
        ]  # fmt: skip


async def test_a_url_subscribes_at_once_after_a_new_epoch_has_begun(settings, pool, monkeypatch):
    """After a new epoch has begun a URL's subscription succeeds at once.

    A client that only knows an address does not repeat a refused request.
    """
    monkeypatch.setattr(state, "FRESH_S", 60)  # subscribers share a state up to this age
    async with serving(settings) as service:
        url = f"ws://127.0.0.1:{service.port}/?channels=trades"
        async with asyncio.timeout(10), connect(url, compression=None) as socket:
            _, before = [json.loads(await socket.recv()) for _ in range(2)]
            began = await change_feed.renew_epoch(pool)
            await socket.wait_closed()
            assert socket.close_code == 1012
        _, after = await received(url, 2)
        assert [each["type"] for each in (before, after)] == ["subscribed"] * 2
        assert after["epoch"] == began != before["epoch"]


async def test_who_cannot_ask_again_for_an_unavailable_channel_is_sent_away_to_come_back(settings, pool):
    await rows.add_markets(pool, [rows.market_fold(MARKET, address=ADDRESS)])
    async with serving(settings) as service:
        url = f"ws://127.0.0.1:{service.port}/?channels=markets,discussions:{ADDRESS}"
        async with DatabaseConditions(settings.database_url.get_secret_value()).locked("markets"):
            messages = []
            async with asyncio.timeout(20), connect(url, compression=None) as socket:
                with pytest.raises(ConnectionClosedError):
                    while True:
                        messages.append(json.loads(await socket.recv()))
        assert messages[-1]["data"]["code"] == "unavailable"
        assert socket.close_code == 1012
        assert int(socket.close_reason.partition("retry_ms=")[2]) >= 100
        messages = await received(url, 3)
        assert {m["channel"] for m in messages[1:]} == {"markets", f"discussions:{MARKET}"}


@pytest.mark.parametrize(
    ("query", "codes"),
    [
        ("", []),
        ("channels=", []),
        ("channel=markets", []),
        ("channels=%00", ["unknown_channel"]),
        ("channels=markets&offset=-1", ["invalid_message"]),
        ("channels=markets&offset=%C2%B2", ["invalid_message"]),
        ("channels=markets&offset=" + "9" * 5_000, ["invalid_message"]),
        ("channels=" + "markets," * (CHANNELS_IN_URL + 1), ["too_many_subscriptions"]),
        ("channels=%FF", ["unknown_channel"]),
        ("%", []),
        ("channels=markets&channels=trades", [None, None]),
        ("channels=markets&channels=", [None]),
        ("channels=" + "markets&channels=" * (CHANNELS_IN_URL + 1), ["too_many_subscriptions"]),
        ("channels=markets&offset=1&offset=2", ["invalid_message"]),
        ("channels=markets&epoch=a&epoch=b", ["invalid_message"]),
        ("numeric=string&numeric=number", ["invalid_message"]),
        ("numeric=string", []),
        ("channels=markets&numeric=string", [None]),
        ("channels=markets&numeric=text", ["invalid_message"]),
        ("numeric=%FF", ["invalid_message"]),
    ],
)
def test_whatever_a_query_holds_is_answered_by_messages(query: str, codes: list[str | None]) -> None:
    requests = parse_query(query)
    assert [r.code if isinstance(r, RefusedRequest) else None for r in requests] == codes


@pytest.mark.parametrize(
    "channel", ["markets", "trades", "activity", f"trades:{MARKET}", f"market:{ADDRESS}"]
)
def test_a_url_and_a_message_mean_the_same(channel: str) -> None:
    message = {"action": "subscribe", "channel": channel, "epoch": "e", "offset": 7}
    [request] = parse_query(f"channels={channel}&epoch=e&offset=7")
    assert isinstance(request, SubscribeRequest)
    sent = parse(json.dumps(message).encode())
    assert isinstance(sent, SubscribeRequest)
    assert request == msgspec.structs.replace(sent, by_url=True)


@pytest.mark.parametrize("offset", [-1, 0, 10**18, 2**63 - 1, 2**63, 10**19, 10**400])
def test_a_url_and_a_message_accept_the_same_offsets(offset: int) -> None:
    message = {"action": "subscribe", "channel": "markets", "epoch": "e", "offset": offset}
    [by_url] = parse_query(f"channels=markets&epoch=e&offset={offset}")
    sent = parse(json.dumps(message).encode())
    assert isinstance(by_url, SubscribeRequest) is isinstance(sent, SubscribeRequest) is (0 <= offset < 2**63)
    if isinstance(by_url, RefusedRequest):
        assert by_url.error == "offset in the URL must be an integer from 0 to 2^63-1"


@pytest.mark.parametrize("name", ["numeric", "epoch", "offset"])
def test_what_is_given_twice_in_a_url_is_refused_by_its_name(name: str) -> None:
    [refused] = parse_query(f"channels=markets&{name}=1&{name}=1")
    assert isinstance(refused, RefusedRequest)
    assert refused.error == f"{name} in the URL must be given once"


async def test_a_resume_ahead_of_the_feed_is_a_gap_that_begins_after_its_end(settings, pool):
    """`from` is larger than `to`, and within the range of offsets even for the largest one."""
    async with serving(settings) as service:
        base = f"ws://127.0.0.1:{service.port}/?channels=trades"
        [_, begun] = await received(base, 2)
        for offset, first in ((10**8, 10**8 + 1), (2**63 - 1, 2**63 - 1)):
            url = f"{base}&epoch={begun['epoch']}&offset={offset}"
            [_, gap, subscribed] = await received(url, 3)
            assert (gap["type"], gap["data"]) == ("gap", {"from": first, "to": begun["offset"]})
            assert (subscribed["offset"], subscribed["data"]["outcome"]) == (begun["offset"], "gap")


async def test_amounts_are_text_where_the_url_or_a_message_asks_for_it(settings, pool):
    """U15: `numeric=string` makes amounts text in the state, in a replay and in live changes.

    A message decides for its own subscription.
    """
    await rows.add_markets(pool, [rows.market_fold(MARKET, address=ADDRESS)])
    async with serving(settings) as service:
        base = f"ws://127.0.0.1:{service.port}/?numeric=string"
        async with asyncio.timeout(10), connect(base + "&channels=markets", compression=None) as socket:
            _, markets = [json.loads(await socket.recv()) for _ in range(2)]
            for channel, numeric in ((f"market:{MARKET}", {}), ("activity", {"numeric": "number"})):
                await socket.send(json.dumps({"action": "subscribe", "channel": channel, **numeric}))
                await socket.recv()
            await pool.execute("UPDATE markets SET shares_yes = shares_yes + 1, state = 'CANCELLED'")
            live = {m["channel"]: m for m in [json.loads(await socket.recv()) for _ in range(3)]}
        [_, _, replayed] = await received(f"{base}&channels=markets&epoch={markets['epoch']}&offset=0", 3)
        [snapshot] = markets["data"]["snapshot"]["markets"]
        assert isinstance(snapshot["b_parameter"], str)
        kinds = {channel: type(m["data"]["market"]["shares_yes"]) for channel, m in live.items()}
        assert kinds == {"markets": str, f"market:{MARKET}": str, "activity": int}
        assert isinstance(replayed["data"]["totalShares"], str)


async def test_another_form_of_amounts_is_refused(settings):
    async with (
        serving(settings) as service,
        connect(f"ws://127.0.0.1:{service.port}", compression=None) as socket,
    ):
        await socket.recv()
        await socket.send('{"action":"subscribe","channel":"trades","numeric":"text"}')
        assert json.loads(await socket.recv())["data"]["code"] == "invalid_message"


@pytest.mark.parametrize(
    ("offered", "answered"),
    [
        (["zmart.v1"], "zmart.v1"),
        (["other", "zmart.v1"], "zmart.v1"),
        (["other"], None),
        (["ZMART.V1"], None),
    ],
)
async def test_our_subprotocol_is_named_to_who_offers_it(settings, offered, answered):
    async with serving(settings) as service:
        url = f"ws://127.0.0.1:{service.port}"
        async with connect(url, compression=None, subprotocols=offered) as socket:
            assert socket.subprotocol == answered
