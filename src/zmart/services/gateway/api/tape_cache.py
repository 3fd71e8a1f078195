"""Cache the JSON of pages of markets' trades. For every response the fingerprint of the page is read from PostgreSQL; a
cached page is used only while it has the same one."""

from __future__ import annotations

import msgspec

from zmart.market.types import MarketId
from zmart.services.gateway.api import serializers
from zmart.services.gateway.http.responses import with_text_amounts
from zmart.store import trades
from zmart.store.pool import Pool
from zmart.store.trades import ChainPosition

_MAX_BYTES = 16 << 20
_PAGE_BYTES = 1_000
"""The memory that a page takes besides its JSON, in bytes: its key, its fields and its entry of the dict."""


class PageKey(msgspec.Struct, frozen=True):
    """The page of a request: `size` trades of a market that are older than the position `after`, or from `offset` on,
    with amounts in the requested form (`text`: `numeric=string`)."""

    market_id: MarketId
    size: int
    offset: int
    after: ChainPosition | None
    text: bool


class TradesPage(msgspec.Struct, frozen=True):
    """A page of trades. `trades` is the JSON array of client.shapes.tape.Trade, the oldest first; `count` is their
    number. `next_after` is the position after which the older trades are; None if there are none."""

    fingerprint: bytes
    trades: msgspec.Raw
    count: int
    next_after: ChainPosition | None


class TapeCache:
    """Hold pages of trades up to `max_bytes`. Beyond them the pages that were not requested for longest are evicted."""

    def __init__(self, pool: Pool, max_bytes: int = _MAX_BYTES) -> None:
        self._pool = pool
        self._max_bytes = max_bytes
        self._pages: dict[PageKey, TradesPage] = {}
        self._size_bytes = 0

    async def page(self, key: PageKey) -> TradesPage:
        """Return a page as it is in PostgreSQL now."""
        one_more = key.size + 1  # which shows whether others follow
        selected = (key.market_id, one_more, key.offset, key.after)
        held = self._pages.get(key)
        if held is not None and held.fingerprint == await trades.page_fingerprint(self._pool, *selected):
            self._keep(key, held)
            return held
        read = await trades.page(self._pool, *selected)
        fresh = _encoded(read, key)
        self._keep(key, fresh)
        return fresh

    def _keep(self, key: PageKey, page: TradesPage) -> None:
        """Store a page as the one that was requested last."""
        self._forget(key)
        self._pages[key] = page
        self._size_bytes += _size_bytes_of(page)
        while self._size_bytes > self._max_bytes:
            self._forget(next(iter(self._pages)))

    def _forget(self, key: PageKey) -> None:
        page = self._pages.pop(key, None)
        if page is not None:
            self._size_bytes -= _size_bytes_of(page)


def _encoded(read: trades.TapePage, key: PageKey) -> TradesPage:
    rows = read.trades[: key.size]
    more = len(read.trades) > key.size
    content = [serializers.trade(row) for row in reversed(rows)]
    encoded = msgspec.json.encode(with_text_amounts(content) if key.text else content)
    next_after = rows[-1].position if more and rows else None
    return TradesPage(read.fingerprint, msgspec.Raw(encoded), len(rows), next_after)


def _size_bytes_of(page: TradesPage) -> int:
    return _PAGE_BYTES + len(memoryview(page.trades))
