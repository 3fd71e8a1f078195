"""The published AsyncAPI description has exactly the messages that the WebSocket service sends, field by field."""

import json
from datetime import UTC, datetime
from typing import get_args

import msgspec
import pytest

from kit.feed_rows import AT, MARKET, WALLET, comment_row, market_row, trade_row
from zmart.feed import asyncapi, messages
from zmart.feed.channels import Channel, ChannelKind, parse_channel
from zmart.feed.shapes import SNAPSHOTS
from zmart.feed.wire import encode
from zmart.market.columns import MarketColumns
from zmart.services.websocket import protocol
from zmart.services.websocket.limits import SocketLimits
from zmart.services.websocket.protocol import FeedOffset, RefusedRequest, SubscriptionTarget
from zmart.services.websocket.state import _snapshot
from zmart.store.change_feed import Change, Op, Topic
from zmart.store.live_state import LiveState

MARKET_ROW = market_row(
    state="FINALIZED", question_cid="Qm", resolver=WALLET, proposed_outcome="yes", final_outcome="invalid",
    **dict.fromkeys([name for name in MarketColumns.__struct_fields__ if name.endswith("_at")], AT),
)  # fmt: skip
TRADE_ROW, COMMENT_ROW = trade_row(), comment_row()
DOCUMENT = {"question": "?", "description": "", "category": "x", "tags": ["a"], "ends_at": AT}
TALLY = {"for": 2, "against": 1, "total": 3}
VOTE_ROW = {"kind": "proposal", "choice": "for", "wallet": WALLET, "created_at": AT, "tally": TALLY}
ONCHAIN_ROW = {
    "kind": "dispute",
    "choice": "against",
    "wallet": WALLET,
    "voted_at": AT,
    "tally": None,
    "slot": 9,
}
CHANGES = [
    (Topic.MARKETS, MARKET_ROW, messages.MarketStateMessage),
    (Topic.TRADES, TRADE_ROW, messages.TradeMessage),
    (Topic.VOTES, VOTE_ROW, messages.VoteMessage),
    (Topic.ONCHAIN_VOTES, ONCHAIN_ROW, messages.VoteMessage),
    (Topic.DISCUSSIONS, COMMENT_ROW, messages.DiscussionMessage),
]
STATES = {
    ChannelKind.MARKETS: {"count": 1, "rows": [MARKET_ROW | DOCUMENT]},
    ChannelKind.MARKET: MARKET_ROW,
    ChannelKind.TRADES: [TRADE_ROW],
    ChannelKind.ACTIVITY: [TRADE_ROW],
    ChannelKind.VOTES: {"proposal": TALLY, "dispute": TALLY},
    ChannelKind.DISCUSSIONS: [COMMENT_ROW],
}
CODES, OUTCOMES = get_args(messages.Code), get_args(get_args(messages.OutcomeName)[0])
PLACE = FeedOffset("an-epoch", 3)


def fits(sent: bytes, kind: type) -> None:
    """Assert that a sent message has exactly the fields and types of `kind`, none missing and none undescribed."""
    assert json.loads(msgspec.json.encode(msgspec.json.decode(sent, type=kind))) == json.loads(sent)


@pytest.mark.parametrize(("topic", "row", "kind"), CHANGES)
@pytest.mark.parametrize("op", Op)
def test_every_change_fits_its_description(topic, row, kind, op):
    text = json.dumps(row)
    old, new = (None if op is Op.CREATED else text), (None if op is Op.DELETED else text)
    at = datetime(2026, 1, 2, tzinfo=UTC)
    change = Change(offset=1, committed_at=at, topic=topic, op=op, market_id=MARKET, old_row=old, new_row=new)
    message = encode(change, "an-epoch")
    for channel in message.channels:
        fits(message.payload(channel), kind)


@pytest.mark.parametrize("kind", ChannelKind)
def test_every_snapshot_fits_its_description(kind):
    state = LiveState(epoch="an-epoch", head=3, kept_from=1, state=json.dumps(STATES[kind]))
    fits(bytes(_snapshot(kind, state)), SNAPSHOTS[kind])


def test_every_answer_fits_its_description():
    of_market, by_channel = (
        SubscriptionTarget(parse_channel(f"market:{MARKET}"), by) for by in (True, False)
    )
    channel, limits = Channel(ChannelKind.MARKET, MARKET), SocketLimits().for_client()
    state = _snapshot(
        ChannelKind.MARKET, LiveState(epoch="e", head=3, kept_from=1, state=json.dumps(MARKET_ROW))
    )
    fits(protocol.welcome(PLACE, "client_1", 30.0, limits), messages.Welcome)
    fits(protocol.pong(PLACE), messages.Pong)
    fits(protocol.gap(channel, PLACE, 1), messages.Gap)
    for outcome in OUTCOMES:
        for snapshot in (None, msgspec.Raw(b"null"), state):
            told = (channel, PLACE, outcome, snapshot, [MARKET])
            fits(protocol.subscribed(of_market, *told), messages.SubscribedToMarket)
            fits(protocol.subscribed(by_channel, *told), messages.Subscribed)
    fits(
        protocol.unsubscribed(of_market, channel, PLACE, []),
        messages.UnsubscribedFromMarket,
    )
    fits(protocol.unsubscribed(by_channel, channel, PLACE, []), messages.Unsubscribed)
    for code in CODES:
        fits(protocol.error(PLACE, RefusedRequest("what", code)), messages.Error)


def test_every_message_of_the_description_is_obeyed():
    position = {"epoch": "an-epoch", "offset": 3}
    for name in ("markets", f"votes:{MARKET}"):
        requested = messages.Subscribe(action="subscribe", channel=name, **position)
        assert protocol.parse(msgspec.json.encode(requested)) == protocol.SubscribeRequest(
            SubscriptionTarget(parse_channel(name), by_market=False), "an-epoch", 3
        )
    for kind in (messages.Subscribe, messages.Unsubscribe):
        requested = kind(action=kind.__name__.lower(), market_id=MARKET)
        assert not isinstance(protocol.parse(msgspec.json.encode(requested)), RefusedRequest)
    assert protocol.parse(msgspec.json.encode(messages.Ping(action="ping"))) == protocol.PingRequest()
    assert (
        protocol.parse(msgspec.json.encode(messages.PongFromClient(action="pong"))) == protocol.PongRequest()
    )


def test_codes_outcomes_and_channels_are_those_of_the_code():
    schemas = asyncapi.document("ws://h:1")["components"]["schemas"]
    assert set(schemas["ErrorData"]["properties"]["code"]["enum"]) == set(CODES)
    assert set(schemas["SubscribedData"]["properties"]["outcome"]["enum"]) == set(OUTCOMES)
    one = msgspec.json.Decoder(messages.Subscribe)
    for kind in ChannelKind:
        for name in (kind.value, f"{kind.value}:{MARKET}", f"{kind.value}:"):
            described = True
            try:
                one.decode(json.dumps({"action": "subscribe", "channel": name}))
            except msgspec.ValidationError:
                described = False
            assert described == (parse_channel(name) is not None), name


def test_the_document_is_whole():
    document = json.loads(asyncapi.published("wss://live.example/feed"))
    assert document["asyncapi"] == "3.0.0"
    server = document["servers"]["socket"]
    assert (server["host"], server["pathname"], server["protocol"]) == ("live.example", "/feed", "wss")
    reported = {name for operation in document["operations"].values() for name in _named(operation)}
    assert (
        reported == set(document["components"]["messages"]) == set(document["channels"]["socket"]["messages"])
    )
    for reference in _references(document):
        result = document
        for part in reference.removeprefix("#/").split("/"):
            result = result[part]


def _named(operation: dict) -> list[str]:
    every = [*operation["messages"], *operation.get("reply", {}).get("messages", [])]
    return [one["$ref"].rpartition("/")[2] for one in every]


def _references(part: object) -> list[str]:
    if isinstance(part, dict):
        own = [part["$ref"]] if isinstance(part.get("$ref"), str) else []
        return own + [result for value in part.values() for result in _references(value)]
    if isinstance(part, list):
        return [result for value in part for result in _references(value)]
    return []
