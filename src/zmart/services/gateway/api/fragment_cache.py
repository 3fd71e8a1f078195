"""Cache the JSON of markets as fragments, one for each version of a row. Responses are assembled from
fragments.

For every response the current versions of its rows are read from PostgreSQL. A fragment is used only for the version
from which it was encoded.
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
from zmart.store import markets
from zmart.store.market_voting import VotingRow
from zmart.store.pool import Pool

_MAX_BYTES = 6 << 20
_FRAGMENT_BYTES = 600
"""The memory that a fragment takes besides its JSON, in bytes, as measured: row version, key and entry of the dict."""


class Fragments:
    """Hold JSON fragments by key: kind, form of amounts and row version. Beyond `max_bytes` the fragments that were
    stored first are evicted."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._fragments: dict[Hashable, msgspec.Raw] = {}
        self.get = self._fragments.get
        self.size_bytes = 0

    def put(self, key: Hashable, content: msgspec.Struct, *, text: bool) -> msgspec.Raw:
        """Encode `content` as JSON, store it under `key` and return it. `text`: amounts are text (`numeric=string`)."""
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
    """Cache the JSON of markets in lists, and of markets with details. It also depends on the program's rules, so all
    fragments are removed when the rules change."""

    def __init__(self, pool: Pool, settings: Settings) -> None:
        self._pool = pool
        self._settings = settings
        self._rules: ConfigFold | None = None
        self._fragments = Fragments(_MAX_BYTES)

    async def rows(
        self, requested: Sequence[markets.MarketVersion], policy: FinalizationPolicy, *, text: bool
    ) -> list[msgspec.Raw]:
        """Return the JSON of each requested market, as client.shapes.markets.Market. Markets that were deleted after
        their versions were read are left out."""
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
        """Return the JSON of a market with details; None if the market was deleted after its version was read."""
        self._apply(policy)
        fragment = self._fragments.get(("detail", text, version, voting))
        if fragment is None:
            for read, row in await markets.with_versions(self._pool, [version.market_id]):
                content = serializers.detail(row, vote_terms.of_row(self._settings, voting), policy)
                fragment = self._fragments.put(("detail", text, read, voting), content, text=text)
        return None if fragment is None else Encoded(bytes(fragment), ResponseRows((version.market_id,)))

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
