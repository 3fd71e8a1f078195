"""Parse the messages of clients and encode the server's answers, as bytes of JSON. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum

import msgspec

from zmart.feed.channels import ChannelKind, ChannelName, parse_channel
from zmart.market.times import now_iso

ECHO_MAX = 64
"""Maximum number of a client's own characters in an answer."""


class ErrorCode(Enum):
    """Name an error for programs; the text beside it is for people."""

    INVALID_MESSAGE = "invalid_message"
    UNKNOWN_ACTION = "unknown_action"
    MARKET_ID_REQUIRED = "market_id_required"
    UNKNOWN_CHANNEL = "unknown_channel"
    UNKNOWN_MARKET = "unknown_market"
    UNAVAILABLE = "unavailable"
    RATE_LIMITED = "rate_limited"
    FRAME_TOO_LARGE = "frame_too_large"
    TOO_MANY_SUBSCRIPTIONS = "too_many_subscriptions"
    TOO_MANY_CONNECTIONS = "too_many_connections"


class SubscriptionOutcome(Enum):
    """Name how a subscription by channel begins."""

    FRESH = "fresh"
    REPLAYED = "replayed"
    GAP = "gap"


class SubscriptionTarget(msgspec.Struct, frozen=True):
    """Hold a channel as named by a client; `by_market` if it used the form {"market_id": M}."""

    name: ChannelName
    by_market: bool

    @property
    def market_text(self) -> str:
        """Return the market as the client wrote it, truncated."""
        return (self.name.market or "")[:ECHO_MAX]


class SubscribeRequest(msgspec.Struct, frozen=True):
    """Request a subscription. `offset` and `epoch`: the last ones that the client received, to resume."""

    target: SubscriptionTarget
    epoch: str | None
    offset: int | None


class UnsubscribeRequest(msgspec.Struct, frozen=True):
    """Request the end of a subscription."""

    target: SubscriptionTarget


class PingRequest(msgspec.Struct, frozen=True):
    """Request a pong."""


class PongRequest(msgspec.Struct, frozen=True):
    """Answer a ping of the server."""


class RefusedRequest(msgspec.Struct, frozen=True):
    """Hold the error of a message that cannot be processed."""

    error: str
    code: ErrorCode


ClientRequest = SubscribeRequest | UnsubscribeRequest | PingRequest | PongRequest | RefusedRequest


class _ClientMessage(msgspec.Struct, frozen=True):
    action: str
    market_id: str | None = None
    channel: str | None = None
    epoch: str | None = None
    offset: int | None = None


_CLIENT_MESSAGE = msgspec.json.Decoder(_ClientMessage)
_INVALID = RefusedRequest("Invalid message format", ErrorCode.INVALID_MESSAGE)


def parse(message: bytes) -> ClientRequest:
    """Parse a client's text frame."""
    try:
        sent = _CLIENT_MESSAGE.decode(message)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return _INVALID
    if sent.action == "ping":
        return PingRequest()
    if sent.action == "pong":
        return PongRequest()
    if sent.action not in ("subscribe", "unsubscribe"):
        return RefusedRequest(f"Unknown action: {sent.action[:ECHO_MAX]}", ErrorCode.UNKNOWN_ACTION)
    target = _target(sent)
    if isinstance(target, RefusedRequest):
        return target
    if sent.action == "unsubscribe":
        return UnsubscribeRequest(target)
    if sent.offset is not None and sent.offset < 0:
        return _INVALID
    return SubscribeRequest(target, sent.epoch, sent.offset)


def _target(sent: _ClientMessage) -> SubscriptionTarget | RefusedRequest:
    if sent.channel:
        name = parse_channel(sent.channel)
        if name is None:
            return RefusedRequest(f"Unknown channel: {sent.channel[:ECHO_MAX]}", ErrorCode.UNKNOWN_CHANNEL)
        return SubscriptionTarget(name, by_market=False)
    if sent.market_id:
        return SubscriptionTarget(ChannelName(ChannelKind.MARKET, sent.market_id), by_market=True)
    return RefusedRequest(f"market_id required for {sent.action} action", ErrorCode.MARKET_ID_REQUIRED)


class FeedOffset(msgspec.Struct, frozen=True):
    """Hold a position in the feed."""

    epoch: str
    offset: int


def answer(
    type_: str,
    position: FeedOffset,
    data: Mapping[str, object],
    channel: str = "",
    market_id: str | None = None,
) -> bytes:
    """Encode an answer in the common envelope; `channel` is empty if none is meant."""
    envelope = {
        "type": type_,
        "channel": channel,
        **({} if market_id is None else {"market_id": market_id}),
        "epoch": position.epoch,
        "offset": position.offset,
        "timestamp": now_iso(),
        "data": data,
    }
    return msgspec.json.encode(envelope)


def welcome(position: FeedOffset, client_id: str, heartbeat_s: float, limits: Mapping[str, int]) -> bytes:
    """Encode the first message on a connection."""
    data = {
        "client_id": client_id,
        "message": "Connected to ZMART WebSocket server",
        "epoch": position.epoch,
        "heartbeat_ms": round(heartbeat_s * 1000),
        "limits": limits,
    }
    return answer("welcome", position, data)


def error(position: FeedOffset, refused: RefusedRequest, channel: str = "") -> bytes:
    """Encode the answer to a message that cannot be processed."""
    return answer("error", position, {"error": refused.error, "code": refused.code.value}, channel)


def pong(position: FeedOffset) -> bytes:
    """Encode the answer to a ping in JSON."""
    return answer("pong", position, {})


def subscribed(
    target: SubscriptionTarget,
    channel: str,
    market_id: str | None,
    position: FeedOffset,
    outcome: SubscriptionOutcome,
    snapshot: msgspec.Raw | None,
    subscriptions: Sequence[str],
) -> bytes:
    """Encode the answer to a subscription.

    The subscription's messages follow `position`: a client that is disconnected before the first of them resumes from
    there.
    """
    state = {} if snapshot is None else {"snapshot": snapshot}
    if target.by_market:
        body = {"message": f"Subscribed to market {target.market_text}", "subscriptions": subscriptions}
        return answer(
            "market_state", position, {**body, "outcome": outcome.value, **state}, channel, market_id
        )
    data = {"epoch": position.epoch, "offset": position.offset, "outcome": outcome.value, **state}
    return answer("subscribed", position, data, channel, market_id)


def unsubscribed(
    target: SubscriptionTarget,
    channel: str,
    market_id: str | None,
    position: FeedOffset,
    subscriptions: Sequence[str],
) -> bytes:
    """Encode the answer to an unsubscription, also if there was no subscription."""
    if not target.by_market:
        return answer("unsubscribed", position, {"subscriptions": subscriptions}, channel, market_id)
    body = {"message": f"Unsubscribed from market {target.market_text}", "subscriptions": subscriptions}
    return answer("market_state", position, body, channel, market_id)


def gap(channel: str, market_id: str | None, position: FeedOffset, missed_from: int) -> bytes:
    """Encode that offsets from `missed_from` to `position.offset` cannot be replayed; the state follows."""
    return answer("gap", position, {"from": missed_from, "to": position.offset}, channel, market_id)
