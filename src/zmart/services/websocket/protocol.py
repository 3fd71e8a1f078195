"""Parse the JSON messages of clients, and encode the server's answers as JSON. Pure: no input or output."""

from __future__ import annotations

from typing import Annotated, Any, get_args
from urllib.parse import parse_qs

import msgspec
from msgspec import UNSET, Meta

from zmart.feed import messages
from zmart.feed.channels import Channel, ChannelKind, ChannelName, parse_channel
from zmart.feed.messages import Answer, Code, ConnectionLimits, NumericForm, OutcomeName
from zmart.feed.shapes import PriceFigures
from zmart.feed.text_amounts import with_text_amounts
from zmart.market.json_input import JSON_ERRORS
from zmart.market.times import now_iso

ECHO_MAX = 64
"""How many characters of a client's own text an answer repeats at most: the length of a market's id."""
MAX_OFFSET = 2**63 - 1
CHANNELS_IN_URL = 50


class SubscriptionTarget(msgspec.Struct, frozen=True):
    """A channel as a client named it; `by_market` is true if the client used the form {"market_id": M}."""

    name: ChannelName
    by_market: bool

    @property
    def market_text(self) -> str:
        """Return the market as the client wrote it, truncated to ECHO_MAX characters; "" for all markets."""
        return (self.name.market or "")[:ECHO_MAX]


class SubscribeRequest(msgspec.Struct, frozen=True):
    """A client's request to subscribe to a channel.

    `epoch` and `offset` are the last ones that the client received, to resume; None without a resume. `as_text`: send
    amounts as text; None: as the connection's URL says. `by_url`: the URL names the channel, so the client will not
    repeat the request on this connection.
    """

    target: SubscriptionTarget
    epoch: str | None
    offset: int | None
    as_text: bool | None = None
    by_url: bool = False


class UnsubscribeRequest(msgspec.Struct, frozen=True):
    """A client's request to end a subscription."""

    target: SubscriptionTarget


class PingRequest(msgspec.Struct, frozen=True):
    """A client's request for a pong message."""


class PongRequest(msgspec.Struct, frozen=True):
    """A client's pong message, which needs no answer."""


class RefusedRequest(msgspec.Struct, frozen=True):
    """The error that answers a client's message which cannot be processed: a sentence and a code."""

    error: str
    code: Code


ClientRequest = SubscribeRequest | UnsubscribeRequest | PingRequest | PongRequest | RefusedRequest


class _ClientMessage(msgspec.Struct, frozen=True):
    action: str
    market_id: str | None = None
    channel: str | None = None
    epoch: str | None = None
    offset: Annotated[int, Meta(ge=0, le=MAX_OFFSET)] | None = None
    numeric: NumericForm | None = None


_CLIENT_MESSAGE = msgspec.json.Decoder(_ClientMessage)
_FIGURES = msgspec.json.Decoder(PriceFigures | None)
_INVALID = RefusedRequest("Invalid message format", "invalid_message")
_INVALID_NUMERIC = RefusedRequest("numeric in the URL must be number or string", "invalid_message")
_INVALID_OFFSET = RefusedRequest("offset in the URL must be an integer from 0 to 2^63-1", "invalid_message")
_NUMERIC_FORMS: tuple[str, ...] = get_args(get_args(NumericForm)[0])


def parse(message: bytes) -> ClientRequest:
    """Parse a client's message; an invalid one yields a RefusedRequest."""
    try:
        sent = _CLIENT_MESSAGE.decode(message)
    except JSON_ERRORS:
        return _INVALID
    if sent.action == "ping":
        return PingRequest()
    if sent.action == "pong":
        return PongRequest()
    if sent.action not in ("subscribe", "unsubscribe"):
        return RefusedRequest(f"Unknown action: {sent.action[:ECHO_MAX]}", "unknown_action")
    target = _target(sent)
    if isinstance(target, RefusedRequest):
        return target
    if sent.action == "unsubscribe":
        return UnsubscribeRequest(target)
    epoch = None if sent.epoch is None else sent.epoch[: ECHO_MAX + 1]  # our epochs are shorter
    return SubscribeRequest(
        target, epoch, sent.offset, None if sent.numeric is None else sent.numeric == "string"
    )


def wants_text(query: str) -> bool:
    """Return whether the URL asks for amounts as text: `numeric=string`, for all subscriptions of the connection."""
    return parse_qs(query).get("numeric") == ["string"]


def parse_query(query: str) -> list[SubscribeRequest | RefusedRequest]:
    """Parse the subscriptions that a URL names: `channels=markets,trades:<id>`, with `epoch` and `offset` to resume.

    `channels` may be repeated. An invalid query yields RefusedRequests. Unknown parameters are ignored, because proxies
    add some.
    """
    parameters = parse_qs(query)
    for name in ("numeric", "epoch", "offset"):
        if len(parameters.get(name, ())) > 1:
            return [RefusedRequest(f"{name} in the URL must be given once", "invalid_message")]
    values = {name: ",".join(given) for name, given in parameters.items()}
    if values.get("numeric", "number") not in _NUMERIC_FORMS:
        return [_INVALID_NUMERIC]
    names = [name for name in values.get("channels", "").split(",") if name]
    offset_text = values.get("offset")
    offset = _offset(offset_text) if offset_text else None
    if names and offset_text and offset is None:
        return [_INVALID_OFFSET]
    if len(names) > CHANNELS_IN_URL:
        return [
            RefusedRequest(f"The URL names more than {CHANNELS_IN_URL} channels", "too_many_subscriptions")
        ]
    targets = [_target(_ClientMessage("subscribe", channel=name)) for name in names]
    return [
        target
        if isinstance(target, RefusedRequest)
        else SubscribeRequest(target, values.get("epoch") or None, offset, by_url=True)
        for target in targets
    ]


def _offset(text: str) -> int | None:
    """Parse an offset in a URL; None for what a message could not carry either. Its length is bounded, since `int`
    refuses very long text."""
    is_number = text.isascii() and text.isdigit() and len(text) <= len(str(MAX_OFFSET))
    return int(text) if is_number and int(text) <= MAX_OFFSET else None


def _target(sent: _ClientMessage) -> SubscriptionTarget | RefusedRequest:
    if sent.channel:
        name = parse_channel(sent.channel)
        if name is None:
            return RefusedRequest(f"Unknown channel: {sent.channel[:ECHO_MAX]}", "unknown_channel")
        return _named(SubscriptionTarget(name, by_market=False))
    if sent.market_id:
        return _named(SubscriptionTarget(ChannelName(ChannelKind.MARKET, sent.market_id), by_market=True))
    return RefusedRequest(f"market_id required for {sent.action} action", "market_id_required")


def _named(target: SubscriptionTarget) -> SubscriptionTarget | RefusedRequest:
    """Return the target, or a refusal if its market's name is longer than any id or address."""
    too_long = target.name.market is not None and len(target.name.market) > ECHO_MAX
    return unknown_market(target) if too_long else target


def unknown_market(target: SubscriptionTarget) -> RefusedRequest:
    """Return the refusal of a request that names an unknown market."""
    return RefusedRequest(f"Unknown market: {target.market_text}", "unknown_market")


class FeedOffset(msgspec.Struct, frozen=True):
    """A position in the change feed: an offset within an epoch."""

    epoch: str
    offset: int


def welcome(position: FeedOffset, client_id: str, heartbeat_s: float, limits: ConnectionLimits) -> bytes:
    """Encode the first message on a connection."""
    data = messages.WelcomeData(
        client_id=client_id,
        message="Connected to ZMART WebSocket server",
        epoch=position.epoch,
        heartbeat_ms=round(heartbeat_s * 1000),
        limits=limits,
    )
    return _encoded(messages.Welcome(**_envelope(position), data=data))


def error(position: FeedOffset, refused: RefusedRequest) -> bytes:
    """Encode the answer to a message that cannot be processed."""
    return _encoded(
        messages.Error(**_envelope(position), data=messages.ErrorData(error=refused.error, code=refused.code))
    )


def pong(position: FeedOffset) -> bytes:
    """Encode the answer to a ping in JSON."""
    return _encoded(messages.Pong(**_envelope(position), data=messages.PongData()))


def subscribed(
    target: SubscriptionTarget,
    channel: Channel,
    position: FeedOffset,
    outcome: OutcomeName,
    snapshot: msgspec.Raw | None,
    subscriptions: list[str],
    *,
    as_text: bool = False,
) -> bytes:
    """Encode the answer to a subscription; `as_text`: with its amounts as text.

    The subscription's messages are those after `position`. A client that is disconnected before the first of them
    resumes from `position`.
    """
    answer = _subscribed(target, channel, position, outcome, snapshot, subscriptions)
    return with_text_amounts(answer) if as_text else answer


def _subscribed(
    target: SubscriptionTarget,
    channel: Channel,
    position: FeedOffset,
    outcome: OutcomeName,
    snapshot: msgspec.Raw | None,
    subscriptions: list[str],
) -> bytes:
    envelope = _envelope(position, channel)
    state = UNSET if snapshot is None else snapshot
    if target.by_market:
        message = f"Subscribed to market {target.market_text}"
        data = messages.SubscribedToMarketData(
            message=message,
            subscriptions=subscriptions,
            outcome=outcome,
            snapshot=state,
            **_figures(snapshot),
        )
        return _encoded(messages.SubscribedToMarket(**envelope, data=data))
    begun = messages.SubscribedData(
        epoch=position.epoch, offset=position.offset, outcome=outcome, snapshot=state
    )
    return _encoded(messages.Subscribed(**envelope, data=begun))


def _figures(snapshot: msgspec.Raw | None) -> dict[str, Any]:
    """Return the price figures in a market's snapshot; empty if the market or its snapshot is missing."""
    figures = None if snapshot is None else _FIGURES.decode(snapshot)
    return {} if figures is None else msgspec.structs.asdict(figures)


def unsubscribed(
    target: SubscriptionTarget, channel: Channel, position: FeedOffset, subscriptions: list[str]
) -> bytes:
    """Encode the answer to an unsubscribe request; it is the same if there was no subscription."""
    envelope = _envelope(position, channel)
    if not target.by_market:
        return _encoded(
            messages.Unsubscribed(**envelope, data=messages.UnsubscribedData(subscriptions=subscriptions))
        )
    message = f"Unsubscribed from market {target.market_text}"
    data = messages.UnsubscribedFromMarketData(message=message, subscriptions=subscriptions)
    return _encoded(messages.UnsubscribedFromMarket(**envelope, data=data))


def gap(channel: Channel, position: FeedOffset, missed_from: int) -> bytes:
    """Encode the report that the offsets `missed_from` to `position.offset` cannot be replayed.

    The next message to the client holds the state as of `position`. `missed_from` may be larger than that, and is
    MAX_OFFSET at most in the report.
    """
    data = messages.GapData(from_=min(missed_from, MAX_OFFSET), to=position.offset)
    return _encoded(messages.Gap(**_envelope(position, channel), data=data))


def _envelope(position: FeedOffset, channel: Channel | None = None) -> dict[str, Any]:
    """Return the fields that every answer has; `channel` is None if the answer concerns no channel."""
    of_market = {} if channel is None or channel.market_id is None else {"market_id": channel.market_id}
    return {
        "channel": "" if channel is None else str(channel),
        **of_market,
        "epoch": position.epoch,
        "offset": position.offset,
        "timestamp": now_iso(),
    }


def _encoded(message: Answer) -> bytes:
    return msgspec.json.encode(message)
