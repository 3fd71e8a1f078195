"""Track which markets changed recently, so that cached responses about other markets stay valid after a commit."""

from __future__ import annotations

import msgspec

from zmart.market.types import MarketId
from zmart.store.change_feed import ChangedMarkets, FeedPosition

FeedAt = tuple[str, int]
"""A position of the feed: its epoch and its head."""


class ResponseRows(msgspec.Struct, frozen=True):
    """The rows of published tables on which a response depends: all rows of the markets `market_ids`. `of_market_list`:
    the response also depends on which markets are in a list by state, creator or age."""

    market_ids: tuple[MarketId, ...]
    of_market_list: bool = False


class RecentChanges:
    """Remember for each recently changed market the head of the feed at its last change, up to the position `at`.

    If there are more than `max_markets` markets, all are forgotten; if the feed has moved by more than `max_offsets`,
    the changes are not read. In both cases every market counts as changed.
    """

    def __init__(self, max_markets: int = 10_000, max_offsets: int = 1_000) -> None:
        self._max_markets = max_markets
        self._max_offsets = max_offsets
        self.at: FeedAt = ("", 0)
        self._known_after = 0
        self._market_list_changed_at = 0
        self._changed_at: dict[MarketId, int] = {}

    def can_follow(self, position: FeedPosition) -> bool:
        """Return whether the changes between `at` and `position` can be read and added."""
        epoch, head = self.at
        return position.epoch == epoch and head <= position.head <= head + self._max_offsets

    def add(self, at: FeedAt, changed: ChangedMarkets | None) -> None:
        """Move to the position `at` of the feed. `changed` are the markets that changed since the previous position;
        None if they are unknown."""
        _, head = self.at = at
        if changed is None or len(self._changed_at) > self._max_markets:
            self._changed_at.clear()
            self._known_after = head
            return
        self._changed_at.update(dict.fromkeys(changed.market_ids, head))
        if changed.market_list_changed:
            self._market_list_changed_at = head

    def touched(self, rows: ResponseRows, since: FeedAt) -> bool:
        """Return whether rows of a response may have changed after it was read at the position `since`."""
        epoch, head = since
        if epoch != self.at[0] or head < self._known_after:
            return True
        if rows.of_market_list and self._market_list_changed_at > head:
            return True
        changed_at = self._changed_at.get
        return any(changed_at(market_id, 0) > head for market_id in rows.market_ids)
