"""Define the channels of the live feed: which changes each carries, and its name."""

from __future__ import annotations

from enum import Enum

import msgspec

from zmart.store.change_feed import Topic


class ChannelKind(Enum):
    """The kinds of channels; the value is the part of a channel's name before the colon."""

    MARKETS = "markets"
    MARKET = "market"
    TRADES = "trades"
    VOTES = "votes"
    DISCUSSIONS = "discussions"
    ACTIVITY = "activity"


_OF_ALL = frozenset({ChannelKind.MARKETS, ChannelKind.TRADES, ChannelKind.ACTIVITY})
_OF_ONE = frozenset({ChannelKind.MARKET, ChannelKind.TRADES, ChannelKind.VOTES, ChannelKind.DISCUSSIONS})
_VOTE_TOPICS = frozenset({Topic.VOTES, Topic.ONCHAIN_VOTES})
_TOPICS = {
    ChannelKind.MARKETS: frozenset({Topic.MARKETS}),
    ChannelKind.MARKET: frozenset(Topic),
    ChannelKind.TRADES: frozenset({Topic.TRADES}),
    ChannelKind.VOTES: _VOTE_TOPICS,
    ChannelKind.DISCUSSIONS: frozenset({Topic.DISCUSSIONS}),
    ChannelKind.ACTIVITY: frozenset(Topic),
}


class Channel(msgspec.Struct, frozen=True):
    """A channel of one market, or of all markets if `market_id` is None. `str()` returns its name on the wire."""

    kind: ChannelKind
    market_id: str | None = None

    def __str__(self) -> str:
        return self.kind.value if self.market_id is None else f"{self.kind.value}:{self.market_id}"

    @property
    def topics(self) -> frozenset[Topic]:
        """Return the published tables whose changes the channel carries."""
        return _TOPICS[self.kind]


class ChannelName(msgspec.Struct, frozen=True):
    """A channel as a client names it: `market` is an id or an address, or None for all markets."""

    kind: ChannelKind
    market: str | None


def parse_channel(text: str) -> ChannelName | None:
    """Parse a channel's name; None if there is no such channel."""
    head, colon, market = text.partition(":")
    kind = next((kind for kind in ChannelKind if kind.value == head), None)
    if kind is None or bool(colon) != bool(market):
        return None
    if kind not in (_OF_ONE if market else _OF_ALL):
        return None
    return ChannelName(kind, market or None)
