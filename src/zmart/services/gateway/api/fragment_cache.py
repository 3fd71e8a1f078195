"""Cache rows as JSON, encoded once for each version of a row; lists are assembled from these fragments.

The current version of each row of a response is read from PostgreSQL: a fragment of that version is valid.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence

import msgspec

from zmart.client.shapes.markets import MarketDetail
from zmart.market.fold_config import ConfigFold
from zmart.market.types import MarketId
from zmart.services.gateway.api import serializers, vote_terms
from zmart.services.gateway.api.serializers import FinalizationPolicy
from zmart.services.gateway.http.recent_changes import ResponseRows
from zmart.services.gateway.http.responses import Encoded, with_text_amounts
from zmart.settings import Settings
from zmart.store import markets, trades
from zmart.store.market_voting import VotingRow
from zmart.store.pool import Pool

_MAX_BYTES = 12 << 20
_FRAGMENT_BYTES = 600
"""The size of a fragment besides its JSON, measured: its version, the key, the entry of the dict."""


class Fragments:
    """Hold encoded JSON by kind and version. Beyond `max_bytes` the fragment that was stored first is evicted."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._fragments: dict[Hashable, msgspec.Raw] = {}
        self.get = self._fragments.get
        self.size_bytes = 0

    def put(self, key: Hashable, content: msgspec.Struct, *, text: bool) -> msgspec.Raw:
        """Encode and store a fragment. `text`: every amount as text (`numeric=string`)."""
        encoded = msgspec.json.encode(with_text_amounts(content) if text else content)
        fragment = msgspec.Raw(encoded)
        self._forget(key)
        self._fragments[key] = fragment
        self.size_bytes += _FRAGMENT_BYTES + len(encoded)
        while self.size_bytes > self._max_bytes:
            self._forget(next(iter(self._fragments)))
        return fragment

    def clear(self) -> None:
        """Remove all fragments."""
        self._fragments.clear()
        self.size_bytes = 0

    def _forget(self, key: Hashable) -> None:
        fragment = self._fragments.pop(key, None)
        if fragment is not None:
            self.size_bytes -= _FRAGMENT_BYTES + len(memoryview(fragment))


class FragmentCache:
    """Cache the JSON of markets in lists, of markets with details, and of trades. That of markets also depends on the
    program's rules: all fragments are removed when these change."""

    def __init__(self, pool: Pool, settings: Settings) -> None:
        self._pool = pool
        self._settings = settings
        self._rules: ConfigFold | None = None
        self._fragments = Fragments(_MAX_BYTES)

    async def rows(
        self, requested: Sequence[markets.MarketVersion], policy: FinalizationPolicy, *, text: bool
    ) -> list[msgspec.Raw]:
        """Return the JSON of each client.shapes.markets.Market, without those that were deleted meanwhile."""
        self._apply(policy)
        cached = self._fragments.get
        fragments = [cached(("row", text, version)) for version in requested]
        missing = [
            version.market_id for version, row in zip(requested, fragments, strict=True) if row is None
        ]
        if missing:
            fresh = await self._read(missing, lambda row: serializers.market(row, policy), text=text)
            fragments = [
                row or fresh.get(version.market_id) for version, row in zip(requested, fragments, strict=True)
            ]
        return [row for row in fragments if row is not None]

    async def detail(
        self, version: markets.MarketVersion, voting: VotingRow, policy: FinalizationPolicy, *, text: bool
    ) -> Encoded[MarketDetail] | None:
        """Return the JSON of a market with details; None if it was deleted meanwhile."""
        self._apply(policy)
        fragment = self._fragments.get(("detail", text, version, voting))
        if fragment is None:
            for read, row in await markets.with_versions(self._pool, [version.market_id]):
                content = serializers.detail(row, vote_terms.of_row(self._settings, voting), policy)
                fragment = self._fragments.put(("detail", text, read, voting), content, text=text)
        return None if fragment is None else Encoded(bytes(fragment), ResponseRows((version.market_id,)))

    async def tape(self, requested: Sequence[trades.TradeVersion], *, text: bool) -> list[msgspec.Raw]:
        """Return the JSON of each client.shapes.tape.Trade, without those that were deleted meanwhile."""
        cached = self._fragments.get
        fragments = [cached(("trade", text, version)) for version in requested]
        missing = [version for version, trade in zip(requested, fragments, strict=True) if trade is None]
        if missing:
            fresh = {}
            for version, row in await trades.with_versions(self._pool, missing):
                fragment = self._fragments.put(("trade", text, version), serializers.trade(row), text=text)
                fresh[version.signature, version.ordinal] = fragment
            fragments = [
                trade or fresh.get((version.signature, version.ordinal))
                for version, trade in zip(requested, fragments, strict=True)
            ]
        return [trade for trade in fragments if trade is not None]

    async def _read(
        self,
        market_ids: Sequence[MarketId],
        serialize: Callable[[markets.MarketRow], msgspec.Struct],
        *,
        text: bool,
    ) -> dict[MarketId, msgspec.Raw]:
        return {
            version.market_id: self._fragments.put(("row", text, version), serialize(row), text=text)
            for version, row in await markets.with_versions(self._pool, market_ids)
        }

    def _apply(self, policy: FinalizationPolicy) -> None:
        if policy.rules != self._rules:
            self._rules = policy.rules
            self._fragments.clear()
