"""Every message of the live feed, typed: what the socket takes from a client, and what it sends."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import UNSET, Meta, Raw, Struct, UnsetType, field

from zmart.feed.shapes import CommentChange, MarketChange, MarketNow, Moment, TradeChange, VoteChange

_OF_ALL, _OF_ONE = "markets|trades|activity", "market|trades|votes|discussions"

MarketName = Annotated[str, Meta(description="a market's id, 64 hex characters, or its address on chain")]
Asked = Annotated[
    str,
    Meta(
        pattern=f"^({_OF_ALL}|({_OF_ONE}):[0-9A-Za-z]+)$",
        description="a channel; its market by id or by address",
    ),
]
Told = Annotated[
    str,
    Meta(
        pattern=f"^(|{_OF_ALL}|({_OF_ONE}):[0-9a-f]{{64}})$",
        description="a channel, its market by id; empty where none is meant",
    ),
]
Epoch = Annotated[str, Meta(description="offsets count within it; a restored database begins another one")]
Offset = Annotated[int, Meta(ge=0, description="a place in the change feed, the same for all channels")]
OutcomeName = Annotated[
    Literal["fresh", "replayed", "gap"],
    Meta(
        description="fresh: the state, then what follows; replayed: all behind the offset that was asked for; "
        "gap: that is not possible, so the state"
    ),
]
Code = Literal[
    "invalid_message",
    "unknown_action",
    "market_id_required",
    "unknown_channel",
    "unknown_market",
    "unavailable",
    "rate_limited",
    "frame_too_large",
    "too_many_subscriptions",
    "too_many_connections",
]


class Subscribe(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """By `channel`, or by `market_id`: all of one market. `epoch` and `offset`, the last ones seen: go on there."""

    action: Literal["subscribe"]
    channel: Asked | UnsetType = UNSET
    market_id: MarketName | UnsetType = UNSET
    epoch: Epoch | UnsetType = UNSET
    offset: Offset | UnsetType = UNSET


class Unsubscribe(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Harmless for what is not subscribed."""

    action: Literal["unsubscribe"]
    channel: Asked | UnsetType = UNSET
    market_id: MarketName | UnsetType = UNSET


class Ping(Struct, frozen=True, kw_only=True):
    """Answered with pong."""

    action: Literal["ping"]


class PongFromClient(Struct, frozen=True, kw_only=True):
    """Not answered; like any frame it tells that the client is there."""

    action: Literal["pong"]


class Envelope(Struct, frozen=True, kw_only=True):
    """Around everything that the server sends."""

    channel: Told
    epoch: Epoch
    offset: Offset
    timestamp: Moment


class Answer(Envelope, frozen=True, kw_only=True):
    """`offset` is what the channel's messages follow; `market_id` on channels of one market."""

    market_id: str | UnsetType = UNSET


class Change(Envelope, frozen=True, kw_only=True):
    """A committed change at `offset`; `slot` for what comes from the chain; `timestamp` of the commit."""

    market_id: str
    slot: int | UnsetType = UNSET


class Limits(Struct, frozen=True, kw_only=True):
    """Of this connection."""

    frame_bytes: int
    subscriptions: int
    messages_per_s: int
    queue_bytes: int


class Welcomed(Struct, frozen=True, kw_only=True):
    client_id: str
    message: str
    epoch: Epoch
    heartbeat_ms: int
    limits: Limits


class Welcome(Envelope, frozen=True, kw_only=True):
    """The first message on a connection."""

    type: Literal["welcome"]
    data: Welcomed


class Began(Struct, frozen=True, kw_only=True):
    """`snapshot` is missing when the subscription is replayed, or when the database is away."""

    epoch: Epoch
    offset: Offset
    outcome: OutcomeName
    snapshot: Raw | UnsetType = UNSET


class Subscribed(Answer, frozen=True, kw_only=True):
    """A subscription by channel begins."""

    type: Literal["subscribed"]
    data: Began


class BeganMarket(Struct, frozen=True, kw_only=True):
    """`snapshot` is null while there is no such market."""

    message: str
    subscriptions: list[str]
    outcome: OutcomeName
    snapshot: MarketNow | UnsetType | None = UNSET


class SubscribedToMarket(Answer, frozen=True, kw_only=True):
    """A subscription by market_id begins; the same market again gives its state again."""

    type: Literal["market_state"]
    data: BeganMarket


class Left(Struct, frozen=True, kw_only=True):
    subscriptions: list[str]


class Unsubscribed(Answer, frozen=True, kw_only=True):
    """A subscription by channel has ended."""

    type: Literal["unsubscribed"]
    data: Left


class LeftMarket(Struct, frozen=True, kw_only=True):
    message: str
    subscriptions: list[str]


class UnsubscribedFromMarket(Answer, frozen=True, kw_only=True):
    """A subscription by market_id has ended."""

    type: Literal["market_state"]
    data: LeftMarket


class Missed(Struct, frozen=True, kw_only=True):
    from_: Offset = field(name="from")
    to: Offset


class Gap(Answer, frozen=True, kw_only=True):
    """Offsets `from` to `to` cannot be replayed; the state follows in the next message."""

    type: Literal["gap"]
    data: Missed


class Refusal(Struct, frozen=True, kw_only=True):
    """`error` is for people, `code` for programs."""

    error: str
    code: Code


class Error(Envelope, frozen=True, kw_only=True):
    """A message could not be obeyed. Past a limit the connection is closed after it, with 1008."""

    type: Literal["error"]
    data: Refusal


class Nothing(Struct, frozen=True):
    pass


class Pong(Envelope, frozen=True, kw_only=True):
    """The answer to ping."""

    type: Literal["pong"]
    data: Nothing


class MarketState(Change, frozen=True, kw_only=True):
    """A market's row has changed."""

    type: Literal["market_state"]
    data: MarketChange


class TradeMessage(Change, frozen=True, kw_only=True):
    """A trade."""

    type: Literal["trade"]
    data: TradeChange


class VoteMessage(Change, frozen=True, kw_only=True):
    """A vote, cast here or on chain."""

    type: Literal["vote"]
    data: VoteChange


class DiscussionMessage(Change, frozen=True, kw_only=True):
    """A comment was made or taken back."""

    type: Literal["discussion"]
    data: CommentChange


FROM_CLIENTS = (Subscribe, Unsubscribe, Ping, PongFromClient)
ANSWERS = (
    Welcome, Subscribed, SubscribedToMarket, Unsubscribed, UnsubscribedFromMarket, Gap, Error, Pong,
)  # fmt: skip
CHANGES = (MarketState, TradeMessage, VoteMessage, DiscussionMessage)
