"""The published description says what the socket says: every message of the code fits it, to the field."""

import json
from datetime import UTC, datetime

import msgspec
import pytest

from zmart.feed import asyncapi, messages
from zmart.feed.channels import ChannelKind, parse_channel
from zmart.feed.shapes import SNAPSHOTS
from zmart.feed.wire import encode
from zmart.services.websocket import protocol
from zmart.services.websocket.limits import SocketLimits
from zmart.services.websocket.protocol import (
    ErrorCode,
    FeedOffset,
    RefusedRequest,
    SubscriptionOutcome,
    SubscriptionTarget,
)
from zmart.services.websocket.state import _snapshot
from zmart.store.change_feed import Change, Op, Topic
from zmart.store.live_state import LiveState

MARKET, WALLET, AT = "ab" * 32, "W" * 44, "2026-01-02T03:04:05.678901+00:00"
TIMES = dict.fromkeys(
    ["created_at", "proposal_aggregated_at", "approved_at", "activated_at", "resolution_proposed_at",
     "dispute_initiated_at", "finalized_at", "cancelled_at"], AT,
)  # fmt: skip
MARKET_ROW = TIMES | {
    "market_id": MARKET, "address": "A" * 44, "creator": WALLET, "state": "FINALIZED", "b_parameter": 10**9,
    "initial_liquidity": 5, "current_liquidity": 2**64 - 1, "shares_yes": 700, "shares_no": 300,
    "price_yes_e9": 625_000_000, "total_volume": 9, "trades_count": 2, "traders": 1, "question_cid": "Qm",
    "evidence_cid": None, "resolver": WALLET, "proposed_outcome": "yes", "final_outcome": None,
    "was_disputed": False, "proposal_likes": 7, "proposal_dislikes": 3, "dispute_agree": 0,
    "dispute_disagree": 0, "updated_slot": 77,
}  # fmt: skip
DOCUMENT = {"question": "?", "description": "", "category": "x", "tags": ["a"], "ends_at": AT}
TRADE_ROW = {
    "signature": "S" * 88, "ordinal": 1, "market_id": MARKET, "wallet": WALLET, "side": "buy", "outcome": "no",
    "shares": 3_000, "cost_lamports": 1_000, "price_yes_after_e9": 1, "slot": 5, "traded_at": AT,
}  # fmt: skip
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
COMMENT_ROW = {
    "id": "7b0b3d0e-0000-4000-8000-000000000000", "market_id": MARKET, "wallet": WALLET, "content": "x",
    "parent_id": None, "created_at": AT, "deleted_at": None,
}  # fmt: skip
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
PLACE = FeedOffset("an-epoch", 3)


def fits(sent: bytes, kind: type) -> None:
    """Nothing is missing, nothing is of another type, and nothing is left out of the description."""
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
    channel, limits = f"market:{MARKET}", SocketLimits().for_client()
    state = _snapshot(
        ChannelKind.MARKET, LiveState(epoch="e", head=3, kept_from=1, state=json.dumps(MARKET_ROW))
    )
    fits(protocol.welcome(PLACE, "client_1", 30.0, limits), messages.Welcome)
    fits(protocol.pong(PLACE), messages.Pong)
    fits(protocol.gap(channel, MARKET, PLACE, 1), messages.Gap)
    for outcome in SubscriptionOutcome:
        for snapshot in (None, msgspec.Raw(b"null"), state):
            told = (channel, MARKET, PLACE, outcome, snapshot, [MARKET])
            fits(protocol.subscribed(of_market, *told), messages.SubscribedToMarket)
            fits(protocol.subscribed(by_channel, *told), messages.Subscribed)
    fits(
        protocol.unsubscribed(of_market, channel, MARKET, PLACE, []),
        messages.UnsubscribedFromMarket,
    )
    fits(protocol.unsubscribed(by_channel, channel, MARKET, PLACE, []), messages.Unsubscribed)
    for code in ErrorCode:
        fits(protocol.error(PLACE, RefusedRequest("what", code)), messages.Error)


def test_every_message_of_the_description_is_obeyed():
    place = {"epoch": "an-epoch", "offset": 3}
    for name in ("markets", f"votes:{MARKET}"):
        asked = messages.Subscribe(action="subscribe", channel=name, **place)
        assert protocol.parse(msgspec.json.encode(asked)) == protocol.SubscribeRequest(
            SubscriptionTarget(parse_channel(name), by_market=False), "an-epoch", 3
        )
    for kind in (messages.Subscribe, messages.Unsubscribe):
        asked = kind(action=kind.__name__.lower(), market_id=MARKET)
        assert not isinstance(protocol.parse(msgspec.json.encode(asked)), RefusedRequest)
    assert protocol.parse(msgspec.json.encode(messages.Ping(action="ping"))) == protocol.PingRequest()
    assert (
        protocol.parse(msgspec.json.encode(messages.PongFromClient(action="pong"))) == protocol.PongRequest()
    )


def test_codes_outcomes_and_channels_are_those_of_the_code():
    schemas = asyncapi.document("ws://h:1")["components"]["schemas"]
    assert set(schemas["ErrorData"]["properties"]["code"]["enum"]) == {code.value for code in ErrorCode}
    assert set(schemas["SubscribedData"]["properties"]["outcome"]["enum"]) == {
        outcome.value for outcome in SubscriptionOutcome
    }
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
    told = {name for operation in document["operations"].values() for name in _named(operation)}
    assert told == set(document["components"]["messages"]) == set(document["channels"]["socket"]["messages"])
    for reference in _references(document):
        found = document
        for part in reference.removeprefix("#/").split("/"):
            found = found[part]


def _named(operation: dict) -> list[str]:
    every = [*operation["messages"], *operation.get("reply", {}).get("messages", [])]
    return [one["$ref"].rpartition("/")[2] for one in every]


def _references(part: object) -> list[str]:
    if isinstance(part, dict):
        own = [part["$ref"]] if isinstance(part.get("$ref"), str) else []
        return own + [found for value in part.values() for found in _references(value)]
    if isinstance(part, list):
        return [found for value in part for found in _references(value)]
    return []
