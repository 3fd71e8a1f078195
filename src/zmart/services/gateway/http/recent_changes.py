"""Which markets changed lately: a response that shows others is still valid after a commit."""

from __future__ import annotations

import msgspec

from zmart.market.types import MarketId
from zmart.store.change_feed import FeedPosition

FeedAt = tuple[str, int]
"""Epoch and head of the feed."""


class ShownRows(msgspec.Struct, frozen=True):
    """What a response shows of the published tables: rows of some markets; `of_market_list`: the markets themselves are
    chosen by state, creator or age."""

    market_ids: tuple[MarketId, ...]
    of_market_list: bool = False


class RecentChanges:
    """The offsets up to which markets changed last, of the last `max_markets` that did."""

    def __init__(self, max_markets: int = 10_000) -> None:
        self._max_markets = max_markets
        self._epoch = ""
        self.head = 0
        self._known_after = 0
        self._market_list_changed_at = 0
        self._changed_at: dict[MarketId, int] = {}

    def add(self, position: FeedPosition) -> None:
        """Take over what changed after `head`."""
        changed = position.changed_markets
        if changed is None or position.epoch != self._epoch:
            self._changed_at.clear()
            self._epoch, self._known_after, changed = position.epoch, position.head, []
        self._changed_at.update(dict.fromkeys(changed, position.head))
        if len(self._changed_at) > self._max_markets:
            self._changed_at.clear()
            self._known_after = position.head
        if position.market_list_changed:
            self._market_list_changed_at = position.head
        self.head = position.head

    def touched(self, shown: ShownRows, since: FeedAt) -> bool:
        """Whether rows that a response shows may have changed since it was read."""
        epoch, head = since
        if epoch != self._epoch or head < self._known_after:
            return True
        if shown.of_market_list and self._market_list_changed_at > head:
            return True
        changed_at = self._changed_at.get
        return any(changed_at(market_id, 0) > head for market_id in shown.market_ids)
