"""Encode a committed change as the message that clients receive: pure, once, the same in every process and replay."""

from __future__ import annotations

from typing import assert_never

import msgspec

from zmart.feed import rows
from zmart.feed.channels import Channel, ChannelKind
from zmart.market.times import iso
from zmart.store.change_feed import Change, Op, Topic

_ROW = msgspec.json.Decoder(dict[str, object])


class WireMessage(msgspec.Struct, frozen=True, kw_only=True):
    """Hold one change for all its channels. Offsets are those of the change feed.

    `tail` is everything after the channel's name, so a frame for a channel is a concatenation.
    """

    offset: int
    type: str
    market_id: str
    channels: tuple[str, ...]
    tail: bytes

    def payload(self, channel: str) -> bytes:
        """Return the JSON text for the subscribers of `channel`."""
        return b'{"type":"%b","channel":"%b",%b' % (self.type.encode(), channel.encode(), self.tail)


def encode(change: Change, epoch: str) -> WireMessage:
    """Encode a change. Raises msgspec.DecodeError or KeyError if the row does not fit its table."""
    row = _ROW.decode(change.new_row or change.old_row or "{}")
    old = _ROW.decode(change.old_row) if change.old_row else None
    type_, data = _data(change, row, old)
    slot = row.get("updated_slot", row.get("slot"))
    market_id = change.market_id or ""
    envelope = {
        "market_id": market_id,
        "epoch": epoch,
        "offset": change.offset,
        **({} if slot is None else {"slot": slot}),
        "timestamp": iso(change.committed_at),
        "data": data,
    }
    return WireMessage(
        offset=change.offset,
        type=type_,
        market_id=market_id,
        channels=_channels(change, row, old),
        tail=msgspec.json.encode(envelope)[1:],
    )


def _data(change: Change, row: rows.Row, old: rows.Row | None) -> tuple[str, dict[str, object]]:
    match change.topic:
        case Topic.MARKETS:
            return "market_state", _market_state(change.op, row, old)
        case Topic.TRADES:
            return "trade", {"action": change.op.value, **rows.trade(row)}
        case Topic.VOTES | Topic.ONCHAIN_VOTES:
            return "vote", {"action": change.op.value, **rows.vote(row)}
        case Topic.DISCUSSIONS:
            return "discussion", _discussion(change.op, row)
        case _ as never:
            assert_never(never)


def _market_state(op: Op, row: rows.Row, old: rows.Row | None) -> dict[str, object]:
    return {
        "action": op.value,
        "old_state": old["state"] if old else None,
        "new_state": None if op is Op.DELETED else row["state"],
        "market": rows.market(row),
        **rows.market_figures(row),
    }


def _discussion(op: Op, row: rows.Row) -> dict[str, object]:
    comment = rows.comment(row)
    is_deleted = op is Op.DELETED or comment["deleted_at"] is not None
    if is_deleted:
        comment["content"] = None
    return {
        "action": Op.DELETED.value if is_deleted else op.value,
        "discussion": comment,
        "postId": comment["id"],
        "author": comment["user_wallet"],
        "parentId": comment["parent_id"],
    }


def _channels(change: Change, row: rows.Row, old: rows.Row | None) -> tuple[str, ...]:
    market_id = change.market_id
    match change.topic:
        case Topic.MARKETS:
            # The activity channel shows that a market is new or has another state, not each change of its price.
            has_new_state = old is None or old["state"] != row["state"]
            channels = [Channel(ChannelKind.MARKETS), Channel(ChannelKind.MARKET, market_id)]
            return _names(channels + [Channel(ChannelKind.ACTIVITY)] * has_new_state)
        case Topic.TRADES:
            kinds = [Channel(ChannelKind.TRADES), Channel(ChannelKind.TRADES, market_id)]
        case Topic.VOTES | Topic.ONCHAIN_VOTES:
            kinds = [Channel(ChannelKind.VOTES, market_id)]
        case Topic.DISCUSSIONS:
            kinds = [Channel(ChannelKind.DISCUSSIONS, market_id)]
        case _ as never:
            assert_never(never)
    return _names([*kinds, Channel(ChannelKind.MARKET, market_id), Channel(ChannelKind.ACTIVITY)])


def _names(channels: list[Channel]) -> tuple[str, ...]:
    return tuple(str(channel) for channel in channels)
