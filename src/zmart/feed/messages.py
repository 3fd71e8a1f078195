"""Define every message of the live feed: what the socket accepts from a client, and what it sends."""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from msgspec import UNSET, Meta, Raw, Struct, UnsetType, field

from zmart.feed.shapes import CommentChange, MarketChange, Moment, PriceFigures, TradeChange, VoteChange
from zmart.market.identifiers import MARKET_ID_FORM

_OF_ALL, _OF_ONE = "markets|trades|activity", "market|trades|votes|discussions"

MarketName = Annotated[str, Meta(description="a market's id, 64 hex characters, or its address on chain")]
RequestedChannel = Annotated[
    str,
    Meta(
        pattern=f"^({_OF_ALL}|({_OF_ONE}):[0-9A-Za-z]+)$",
        description="a channel; its market by id or by address",
    ),
]
SentChannel = Annotated[
    str,
    Meta(
        pattern=f"^(|{_OF_ALL}|({_OF_ONE}):{MARKET_ID_FORM})$",
        description="a channel, its market by id; empty if the message concerns none",
    ),
]
Epoch = Annotated[
    str, Meta(description="identifies the feed that offsets belong to; a restored database begins a new one")
]
Offset = Annotated[int, Meta(ge=0, description="a position in the change feed, the same for all channels")]
NumericForm = Annotated[
    Literal["number", "string"],
    Meta(description="string: lamports and shares of this subscription as decimal text, instead of integers"),
]
OutcomeName = Annotated[
    Literal["fresh", "replayed", "gap"],
    Meta(
        description="fresh: the state, then new messages; replayed: all messages after the requested offset; "
        "gap: a replay is not possible, so the state"
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
    """Subscribe to `channel`, or to all changes of `market_id`. To resume, send the last `epoch` and `offset`
    received. Without `numeric` the value in the URL counts, and without that `number`."""

    action: Literal["subscribe"]
    channel: RequestedChannel | UnsetType = UNSET
    market_id: MarketName | UnsetType = UNSET
    epoch: Epoch | UnsetType = UNSET
    offset: Offset | UnsetType = UNSET
    numeric: NumericForm | UnsetType = UNSET


class Unsubscribe(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """End a subscription. Harmless if there is none."""

    action: Literal["unsubscribe"]
    channel: RequestedChannel | UnsetType = UNSET
    market_id: MarketName | UnsetType = UNSET


class Ping(Struct, frozen=True, kw_only=True):
    """Request a pong."""

    action: Literal["ping"]


class PongFromClient(Struct, frozen=True, kw_only=True):
    """A pong of the client. It gets no answer; like any frame, it shows that the client is connected."""

    action: Literal["pong"]


class Envelope(Struct, frozen=True, kw_only=True, tag_field="type"):
    """The fields that every message of the server has, in the order in which they are sent."""

    channel: SentChannel
    epoch: Epoch
    offset: Offset
    timestamp: Moment


class AnswerEnvelope(Struct, frozen=True, kw_only=True, tag_field="type"):
    """The envelope of an answer. The channel's next messages are those after `offset`. `market_id` is set if the
    channel is that of one market."""

    channel: SentChannel
    market_id: str | UnsetType = UNSET
    epoch: Epoch
    offset: Offset
    timestamp: Moment


class ChangeEnvelope(Struct, frozen=True, kw_only=True, tag_field="type"):
    """The envelope of a change that was committed at `offset`. `slot` is set for chain data; `timestamp` is the
    commit's time."""

    channel: SentChannel
    market_id: str
    epoch: Epoch
    offset: Offset
    slot: int | UnsetType = UNSET
    timestamp: Moment


class ConnectionLimits(Struct, frozen=True, kw_only=True):
    """The limits of this connection: bytes of a message, subscriptions, messages a second, bytes of its queue."""

    frame_bytes: int
    subscriptions: int
    messages_per_s: int
    queue_bytes: int


class WelcomeData(Struct, frozen=True, kw_only=True):
    """The data of a welcome: the client's id, the feed's epoch, the interval of pings in milliseconds, the limits."""

    client_id: str
    message: str
    epoch: Epoch
    heartbeat_ms: int
    limits: ConnectionLimits


class Welcome(Envelope, frozen=True, kw_only=True, tag="welcome"):
    """The first message on a connection."""

    data: WelcomeData


class SubscribedData(Struct, frozen=True, kw_only=True):
    """The start of a subscription. `snapshot` is missing for a replay, or if the database is unavailable."""

    epoch: Epoch
    offset: Offset
    outcome: OutcomeName
    snapshot: Raw | UnsetType = UNSET


class Subscribed(AnswerEnvelope, frozen=True, kw_only=True, tag="subscribed"):
    """A subscription by channel has begun."""

    data: SubscribedData


class SubscribedToMarketData(PriceFigures, frozen=True, kw_only=True):
    """The start of a subscription by market. The prices are those of the snapshot, under the names that each change
    of the market uses. `snapshot` is null if the market does not exist."""

    message: str
    subscriptions: list[str]
    outcome: OutcomeName
    snapshot: Raw | UnsetType = UNSET


class SubscribedToMarket(AnswerEnvelope, frozen=True, kw_only=True, tag="market_state"):
    """A subscription by market_id has begun. Subscribing to the same market again returns its state again."""

    data: SubscribedToMarketData


class UnsubscribedData(Struct, frozen=True, kw_only=True):
    """The remaining subscriptions of the connection."""

    subscriptions: list[str]


class Unsubscribed(AnswerEnvelope, frozen=True, kw_only=True, tag="unsubscribed"):
    """A subscription by channel has ended."""

    data: UnsubscribedData


class UnsubscribedFromMarketData(Struct, frozen=True, kw_only=True):
    """The remaining subscriptions of the connection, with a sentence for people."""

    message: str
    subscriptions: list[str]


class UnsubscribedFromMarket(AnswerEnvelope, frozen=True, kw_only=True, tag="market_state"):
    """A subscription by market_id has ended."""

    data: UnsubscribedFromMarketData


class GapData(Struct, frozen=True, kw_only=True):
    """The first and the last offset that cannot be replayed. `from` is larger than `to` after a resume from an offset
    that the feed has not reached."""

    from_: Offset = field(name="from")
    to: Offset


class Gap(AnswerEnvelope, frozen=True, kw_only=True, tag="gap"):
    """Offsets `from` to `to` cannot be replayed; the state follows in the next message."""

    data: GapData


class ErrorData(Struct, frozen=True, kw_only=True):
    """The reason of an error: `error` is a sentence for people, `code` is for programs."""

    error: str
    code: Code


class Error(Envelope, frozen=True, kw_only=True, tag="error"):
    """A message could not be processed. If it exceeded a limit, the connection is closed next, with code 1008."""

    data: ErrorData


class PongData(Struct, frozen=True):
    """The data of a pong: an empty object."""


class Pong(Envelope, frozen=True, kw_only=True, tag="pong"):
    """The answer to a ping message."""

    data: PongData


class MarketStateMessage(ChangeEnvelope, frozen=True, kw_only=True, tag="market_state"):
    """A market's row was created, changed or deleted."""

    data: MarketChange


class TradeMessage(ChangeEnvelope, frozen=True, kw_only=True, tag="trade"):
    """A trade was recorded, changed or removed."""

    data: TradeChange


class VoteMessage(ChangeEnvelope, frozen=True, kw_only=True, tag="vote"):
    """A vote was recorded, changed or removed; it was cast off chain or on chain."""

    data: VoteChange


class DiscussionMessage(ChangeEnvelope, frozen=True, kw_only=True, tag="discussion"):
    """A comment was written or deleted."""

    data: CommentChange


Answer = (
    Welcome | Subscribed | SubscribedToMarket | Unsubscribed | UnsubscribedFromMarket | Gap | Error | Pong
)
ChangeMessage = MarketStateMessage | TradeMessage | VoteMessage | DiscussionMessage
FROM_CLIENTS = (Subscribe, Unsubscribe, Ping, PongFromClient)
ANSWERS = get_args(Answer)
CHANGES = get_args(ChangeMessage)
