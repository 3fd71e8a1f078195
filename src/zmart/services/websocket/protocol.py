"""What clients may say and the answers of the server, as bytes of JSON. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from enum import Enum

import msgspec

from zmart.feed.channels import ChannelName, Kind, parse_channel

ECHO_MAX = 64
"""No more than this many characters of what a client sent are sent back."""


class ErrorCode(Enum):
    """The machine's name of an error; the text beside it is for people."""

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


class Outcome(Enum):
    """How a subscription by channel begins."""

    FRESH = "fresh"
    REPLAYED = "replayed"
    GAP = "gap"


class Target(msgspec.Struct, frozen=True):
    """A channel as named by a client; `by_market` when it used the form {"market_id": M}."""

    name: ChannelName
    by_market: bool

    @property
    def said(self) -> str:
        """The market in the client's own words."""
        return (self.name.market or "")[:ECHO_MAX]


class Subscribe(msgspec.Struct, frozen=True):
    """`offset` and `epoch`: the last ones that the client has seen, to go on from there."""

    target: Target
    epoch: str | None
    offset: int | None


class Unsubscribe(msgspec.Struct, frozen=True):
    target: Target


class Ping(msgspec.Struct, frozen=True):
    pass


class Pong(msgspec.Struct, frozen=True):
    pass


class Refused(msgspec.Struct, frozen=True):
    """A message that cannot be obeyed."""

    error: str
    code: ErrorCode


Request = Subscribe | Unsubscribe | Ping | Pong | Refused


class _Said(msgspec.Struct, frozen=True):
    action: str
    market_id: str | None = None
    channel: str | None = None
    epoch: str | None = None
    offset: int | None = None


_SAID = msgspec.json.Decoder(_Said)
_INVALID = Refused("Invalid message format", ErrorCode.INVALID_MESSAGE)


def parse(message: bytes) -> Request:
    """What a client's text frame asks for."""
    try:
        said = _SAID.decode(message)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return _INVALID
    if said.action == "ping":
        return Ping()
    if said.action == "pong":
        return Pong()
    if said.action not in ("subscribe", "unsubscribe"):
        return Refused(f"Unknown action: {said.action[:ECHO_MAX]}", ErrorCode.UNKNOWN_ACTION)
    target = _target(said)
    if isinstance(target, Refused):
        return target
    if said.action == "unsubscribe":
        return Unsubscribe(target)
    if said.offset is not None and said.offset < 0:
        return _INVALID
    return Subscribe(target, said.epoch, said.offset)


def _target(said: _Said) -> Target | Refused:
    if said.channel:
        name = parse_channel(said.channel)
        if name is None:
            return Refused(f"Unknown channel: {said.channel[:ECHO_MAX]}", ErrorCode.UNKNOWN_CHANNEL)
        return Target(name, by_market=False)
    if said.market_id:
        return Target(ChannelName(Kind.MARKET, said.market_id), by_market=True)
    return Refused(f"market_id required for {said.action} action", ErrorCode.MARKET_ID_REQUIRED)


class Place(msgspec.Struct, frozen=True):
    """Where in the feed an answer stands."""

    epoch: str
    offset: int


def answer(
    type_: str, place: Place, data: Mapping[str, object], channel: str = "", market_id: str | None = None
) -> bytes:
    """An answer in the common envelope; `channel` is empty where none is meant."""
    envelope = {
        "type": type_,
        "channel": channel,
        **({} if market_id is None else {"market_id": market_id}),
        "epoch": place.epoch,
        "offset": place.offset,
        "timestamp": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "data": data,
    }
    return msgspec.json.encode(envelope)


def welcome(place: Place, client_id: str, heartbeat_s: float, limits: Mapping[str, int]) -> bytes:
    """The first message on a connection."""
    data = {
        "client_id": client_id,
        "message": "Connected to ZMART WebSocket server",
        "epoch": place.epoch,
        "heartbeat_ms": round(heartbeat_s * 1000),
        "limits": limits,
    }
    return answer("welcome", place, data)


def error(place: Place, refused: Refused, channel: str = "") -> bytes:
    """The answer to what cannot be obeyed."""
    return answer("error", place, {"error": refused.error, "code": refused.code.value}, channel)


def pong(place: Place) -> bytes:
    """The answer to a ping in JSON."""
    return answer("pong", place, {})


def subscribed(
    target: Target,
    channel: str,
    market_id: str | None,
    place: Place,
    outcome: Outcome,
    snapshot: msgspec.Raw | None,
    subscriptions: Sequence[str],
) -> bytes:
    """The answer to a subscription. `place` is what its messages follow: a client that is cut off before the
    first of them resumes from there."""
    state = {} if snapshot is None else {"snapshot": snapshot}
    if target.by_market:
        told = {"message": f"Subscribed to market {target.said}", "subscriptions": subscriptions}
        return answer("market_state", place, {**told, "outcome": outcome.value, **state}, channel, market_id)
    data = {"epoch": place.epoch, "offset": place.offset, "outcome": outcome.value, **state}
    return answer("subscribed", place, data, channel, market_id)


def unsubscribed(
    target: Target, channel: str, market_id: str | None, place: Place, subscriptions: Sequence[str]
) -> bytes:
    """The answer to an unsubscription, also to one of what was not subscribed."""
    if not target.by_market:
        return answer("unsubscribed", place, {"subscriptions": subscriptions}, channel, market_id)
    told = {"message": f"Unsubscribed from market {target.said}", "subscriptions": subscriptions}
    return answer("market_state", place, told, channel, market_id)


def gap(channel: str, market_id: str | None, place: Place, missed_from: int) -> bytes:
    """Tells that offsets from `missed_from` to `place.offset` cannot be replayed; the state follows."""
    return answer("gap", place, {"from": missed_from, "to": place.offset}, channel, market_id)
