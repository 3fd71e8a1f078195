"""Which markets changed lately: a response that shows others is still valid after a commit."""

from __future__ import annotations

import msgspec

from zmart.market.types import MarketId
from zmart.store.change_feed import ChangedMarkets, FeedPosition

FeedAt = tuple[str, int]
"""Epoch and head of the feed."""


class ShownRows(msgspec.Struct, frozen=True):
    """What a response shows of the published tables: rows of some markets; `of_market_list`: the markets themselves are
    chosen by state, creator or age."""

    market_ids: tuple[MarketId, ...]
    of_market_list: bool = False


class RecentChanges:
    """The heads at which markets changed last, of the last `max_markets` that did, as of the head in `at`. A step of
    more than `max_offsets` is not read: whatever was cached before it counts as changed."""

    def __init__(self, max_markets: int = 10_000, max_offsets: int = 1_000) -> None:
        self._max_markets = max_markets
        self._max_offsets = max_offsets
        self.at: FeedAt = ("", 0)
        self._known_after = 0
        self._market_list_changed_at = 0
        self._changed_at: dict[MarketId, int] = {}

    def can_follow(self, position: FeedPosition) -> bool:
        """Whether what changed up to a position is worth reading."""
        epoch, head = self.at
        return position.epoch == epoch and head <= position.head <= head + self._max_offsets

    def add(self, at: FeedAt, changed: ChangedMarkets | None) -> None:
        """Move to a new head; `changed`: between the last one and this, None if that is not known."""
        _, head = self.at = at
        if changed is None or len(self._changed_at) > self._max_markets:
            self._changed_at.clear()
            self._known_after = head
            return
        self._changed_at.update(dict.fromkeys(changed.market_ids, head))
        if changed.market_list_changed:
            self._market_list_changed_at = head

    def touched(self, shown: ShownRows, since: FeedAt) -> bool:
        """Whether rows that a response shows may have changed since it was read."""
        epoch, head = since
        if epoch != self.at[0] or head < self._known_after:
            return True
        if shown.of_market_list and self._market_list_changed_at > head:
            return True
        changed_at = self._changed_at.get
        return any(changed_at(market_id, 0) > head for market_id in shown.market_ids)
