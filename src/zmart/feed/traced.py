"""Record trace spans for transactions on their way through the feed."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

import msgspec

from zmart import traces
from zmart.feed.wire import WireMessage
from zmart.market.types import Signature
from zmart.store.change_feed import Change, Topic

_RECENT = timedelta(seconds=60)
"""Older changes get no span: a restart of Redis or of a socket server replays them, after their spans were recorded."""
_OF_ROWS = frozenset({Topic.TRADES, Topic.ONCHAIN_VOTES})


class _SignatureRow(msgspec.Struct, frozen=True):
    signature: Signature


class _TradeSignature(msgspec.Struct, frozen=True):
    tx_signature: Signature


class _TradeTail(msgspec.Struct, frozen=True):
    timestamp: datetime
    data: _TradeSignature


_ROW = msgspec.json.Decoder(_SignatureRow)
_TAIL = msgspec.json.Decoder(_TradeTail)


def trace_relayed(changes: Sequence[Change]) -> None:
    """Record a span for the transaction of each recent trade or vote on chain: from commit to the Redis stream."""
    now = datetime.now(UTC)
    for change in changes:
        row = change.new_row
        if change.topic not in _OF_ROWS or row is None or now - change.committed_at > _RECENT:
            continue
        began_ns = int(change.committed_at.timestamp() * 1e9)
        attributes: traces.Attributes = {
            "zmart.feed.offset": change.offset,
            "zmart.feed.topic": change.topic.value,
        }
        traces.record(traces.TransactionStep.RELAY, _ROW.decode(row).signature, began_ns, attributes)


def trace_sent(
    messages: Sequence[WireMessage], began_ns: int, subscribers: Callable[[WireMessage], int]
) -> None:
    """Record a span for the transaction of each recent trade that was written to subscribers.

    The span lasts from `began_ns`, a Unix time in nanoseconds, until now. `subscribers` returns how many connections
    got a message.
    """
    now, ended_ns = datetime.now(UTC), time.time_ns()
    for message in messages:
        if message.type != "trade":
            continue
        trade = _TAIL.decode(b"{" + message.tail)
        if now - trade.timestamp <= _RECENT:
            attributes = {"zmart.feed.offset": message.offset, "zmart.subscribers": subscribers(message)}
            traces.record(
                traces.TransactionStep.SOCKET, trade.data.tx_signature, began_ns, attributes, ended_ns
            )
