"""The channels of the live feed: which changes each carries and how it is named."""

from __future__ import annotations

import re
from enum import Enum

import msgspec

from zmart.store.change_feed import Topic

_MARKET_ID = re.compile(r"[0-9a-f]{64}")


class Kind(Enum):
    """The part of a channel's name before the colon."""

    MARKETS = "markets"
    MARKET = "market"
    TRADES = "trades"
    VOTES = "votes"
    DISCUSSIONS = "discussions"
    ACTIVITY = "activity"


_OF_ALL = frozenset({Kind.MARKETS, Kind.TRADES, Kind.ACTIVITY})
_OF_ONE = frozenset({Kind.MARKET, Kind.TRADES, Kind.VOTES, Kind.DISCUSSIONS})
_VOTE_TOPICS = frozenset({Topic.VOTES, Topic.ONCHAIN_VOTES})
_TOPICS = {
    Kind.MARKETS: frozenset({Topic.MARKETS}),
    Kind.MARKET: frozenset(Topic),
    Kind.TRADES: frozenset({Topic.TRADES}),
    Kind.VOTES: _VOTE_TOPICS,
    Kind.DISCUSSIONS: frozenset({Topic.DISCUSSIONS}),
    Kind.ACTIVITY: frozenset(Topic),
}


class Channel(msgspec.Struct, frozen=True):
    """A channel of one market, or of all when `market_id` is None. `str()` is its name on the wire."""

    kind: Kind
    market_id: str | None = None

    def __str__(self) -> str:
        return self.kind.value if self.market_id is None else f"{self.kind.value}:{self.market_id}"

    @property
    def topics(self) -> frozenset[Topic]:
        """The published tables that it carries."""
        return _TOPICS[self.kind]

    @property
    def latest_only(self) -> bool:
        """Whether the newest message about a market says all, so that a slow reader may skip older ones."""
        return self.kind is Kind.MARKETS


class ChannelName(msgspec.Struct, frozen=True):
    """A channel as a client names it: `market` may be an id or an address, and is None for all markets."""

    kind: Kind
    market: str | None


def parse_channel(text: str) -> ChannelName | None:
    """What `text` names, or None when there is no such channel."""
    head, colon, market = text.partition(":")
    kind = next((kind for kind in Kind if kind.value == head), None)
    if kind is None or bool(colon) != bool(market):
        return None
    if kind not in (_OF_ONE if market else _OF_ALL):
        return None
    return ChannelName(kind, market or None)


def is_market_id(text: str) -> bool:
    """Whether `text` has the form of a market id: 64 lower-case hex characters."""
    return _MARKET_ID.fullmatch(text) is not None
