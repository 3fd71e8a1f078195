"""Encode a committed change as the message that clients receive.

The encoding is pure: every process, and every replay, encodes a change as the same bytes.
"""

from __future__ import annotations

from typing import Any, TypeVar, assert_never

import msgspec

from zmart.feed import rows
from zmart.feed.channels import Channel, ChannelKind
from zmart.feed.messages import (
    ChangeMessage,
    DiscussionMessage,
    MarketStateMessage,
    TradeMessage,
    VoteMessage,
)
from zmart.feed.shapes import Action, CommentChange, MarketChange, TradeChange
from zmart.feed.text_amounts import with_text_amounts
from zmart.market.times import iso
from zmart.store.change_feed import Change, Op, Topic

_MARKET = msgspec.json.Decoder(rows.MarketJson)
_TRADE = msgspec.json.Decoder(rows.TradeJson)
_VOTE = msgspec.json.Decoder(rows.VoteJson)
_COMMENT = msgspec.json.Decoder(rows.CommentJson)
Row = TypeVar("Row")


class WireMessage(msgspec.Struct, frozen=True, kw_only=True):
    """The encoded message of one change, for all channels that carry it.

    `offset` is the change's offset in the feed. `tail` is the JSON after the channel's name, so that the message for a
    channel is a concatenation.
    """

    offset: int
    type: str
    market_id: str
    channels: tuple[str, ...]
    tail: bytes

    def payload(self, channel: str) -> bytes:
        """Return the message's JSON for the subscribers of `channel`."""
        return b'{"type":"%b","channel":"%b",%b' % (self.type.encode(), channel.encode(), self.tail)

    def with_text_amounts(self) -> WireMessage:
        """Return the message with lamports and shares as decimal text."""
        return msgspec.structs.replace(self, tail=with_text_amounts(self.tail))


def encode(change: Change, epoch: str) -> WireMessage:
    """Encode a change of the feed's `epoch`. Raises msgspec.DecodeError if its row does not match the table's type."""
    message = _message(change, epoch)
    kind = str(message.__struct_config__.tag)
    before_tail = len(b'{"type":"%b","channel":"",' % kind.encode())
    return WireMessage(
        offset=message.offset,
        type=kind,
        market_id=message.market_id,
        channels=_channels(message, change.market_id),
        tail=msgspec.json.encode(message)[before_tail:],
    )


def _message(change: Change, epoch: str) -> ChangeMessage:
    """Return the message of a change with an empty channel name."""
    envelope: dict[str, Any] = {
        "channel": "",
        "market_id": change.market_id or "",
        "epoch": epoch,
        "offset": change.offset,
        "timestamp": iso(change.committed_at),
    }
    action: Action = change.op.value
    match change.topic:
        case Topic.MARKETS:
            market = _row(_MARKET, change)
            return MarketStateMessage(
                **envelope, slot=market.updated_slot, data=_market_change(market, change, action)
            )
        case Topic.TRADES:
            trade = rows.trade(_row(_TRADE, change))
            data = TradeChange(**{**msgspec.structs.asdict(trade), "action": action})
            return TradeMessage(**envelope, slot=trade.slot, data=data)
        case Topic.VOTES | Topic.ONCHAIN_VOTES:
            vote = _row(_VOTE, change)
            return VoteMessage(**envelope, slot=vote.slot, data=rows.vote(vote, action))
        case Topic.DISCUSSIONS:
            return DiscussionMessage(**envelope, data=_comment_change(_row(_COMMENT, change), action))
        case _ as never:
            assert_never(never)


def _row(decoder: msgspec.json.Decoder[Row], change: Change) -> Row:
    return decoder.decode(change.new_row or change.old_row or "{}")


def _market_change(row: rows.MarketJson, change: Change, action: Action) -> MarketChange:
    return MarketChange(
        action=action,
        old_state=_MARKET.decode(change.old_row).state if change.old_row else None,
        new_state=None if change.op is Op.DELETED else row.state,
        market=rows.market(row),
        **rows.price_figures(row),
    )


def _comment_change(row: rows.CommentJson, action: Action) -> CommentChange:
    is_deleted = action == "deleted" or row.deleted_at is not None
    comment = rows.comment(row, is_deleted=is_deleted)
    return CommentChange(
        action="deleted" if is_deleted else action,
        discussion=comment,
        post_id=comment.id,
        author=comment.user_wallet,
        parent_id=comment.parent_id,
        content=comment.content,
    )


def _channels(message: ChangeMessage, market_id: str | None) -> tuple[str, ...]:
    of_market = Channel(ChannelKind.MARKET, market_id)
    activity = Channel(ChannelKind.ACTIVITY)
    match message:
        case MarketStateMessage():
            # The activity channel shows that a market is new or has another state, not each change of its price.
            has_new_state = message.data.old_state != message.data.market.state
            return _names([Channel(ChannelKind.MARKETS), of_market] + [activity] * has_new_state)
        case TradeMessage():
            kinds = [Channel(ChannelKind.TRADES), Channel(ChannelKind.TRADES, market_id)]
        case VoteMessage():
            kinds = [Channel(ChannelKind.VOTES, market_id)]
        case DiscussionMessage():
            kinds = [Channel(ChannelKind.DISCUSSIONS, market_id)]
        case _ as never:
            assert_never(never)
    return _names([*kinds, of_market, activity])


def _names(channels: list[Channel]) -> tuple[str, ...]:
    return tuple(str(channel) for channel in channels)
