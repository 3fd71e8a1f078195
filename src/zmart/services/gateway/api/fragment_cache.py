"""Rows as JSON, made once for each version of a row: lists are put together from the pieces.

PostgreSQL says for every row of an answer which version is the current one; bytes that were made of that version
are right for as long as it stays so.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Generic, TypeVar

import msgspec

from zmart.client.shapes.markets import Market, MarketDetail
from zmart.client.shapes.tape import Trade
from zmart.market.types import MarketId
from zmart.services.gateway.api import serializers
from zmart.services.gateway.api.serializers import FinalizationPolicy
from zmart.services.gateway.api.vote_terms import MarketVoting
from zmart.services.gateway.http.responses import with_text_numbers
from zmart.store import markets, trades
from zmart.store.pool import Pool
from zmart.store.status import Rules

_MAX_BYTES = 16 << 20
"""Of JSON in one store: some 30,000 trades, some 12,000 markets."""

Version = TypeVar("Version", bound=Hashable)
Made = TypeVar("Made")


class FragmentStore(Generic[Version]):
    """Pieces by version; the oldest go when there are too many."""

    def __init__(self) -> None:
        self._pieces: dict[Version, msgspec.Raw] = {}
        self._held_bytes = 0
        self.get = self._pieces.get

    def put(self, version: Version, content: msgspec.Struct, *, text: bool) -> msgspec.Raw:
        """`text`: every amount as text (`numeric=string`)."""
        whole = msgspec.json.encode(with_text_numbers(content) if text else content)
        piece = msgspec.Raw(whole)
        self._held_bytes += len(whole) - self._forget(version)
        self._pieces[version] = piece
        while self._held_bytes > _MAX_BYTES:
            self._held_bytes -= self._forget(next(iter(self._pieces)))
        return piece

    def clear(self) -> None:
        self._pieces.clear()
        self._held_bytes = 0

    def _forget(self, version: Version) -> int:
        """How many bytes that frees."""
        piece = self._pieces.pop(version, None)
        return 0 if piece is None else len(memoryview(piece))


class FragmentCache:
    """Markets as lists show them, markets in full, trades. A market's JSON also depends on the program's rules."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._rules: Rules | None = None
        self._markets = _for_both(FragmentStore[markets.Version])
        self._details = _for_both(FragmentStore[tuple[markets.Version, MarketVoting]])
        self._trades = _for_both(FragmentStore[trades.Version])

    async def rows(
        self, wanted: Sequence[markets.Version], policy: FinalizationPolicy, *, text: bool
    ) -> list[Market]:
        """Typed as what the pieces hold."""
        self._under(policy)
        fragments = self._markets[text]
        pieces = [fragments.get(version) for version in wanted]
        if None not in pieces:
            return pieces  # type: ignore[return-value]
        missing = [version.market_id for version in wanted if fragments.get(version) is None]
        fresh = await self._read(fragments, missing, lambda row: serializers.market(row, policy), text=text)
        pieces = [fragments.get(version) or fresh.get(version.market_id) for version in wanted]
        return [piece for piece in pieces if piece is not None]  # type: ignore[misc]  # gone: deleted meanwhile

    async def detail(
        self, version: markets.Version, voting: MarketVoting, policy: FinalizationPolicy, *, text: bool
    ) -> MarketDetail | None:
        """None when the market was deleted meanwhile."""
        self._under(policy)
        fragments = self._details[text]
        piece = fragments.get((version, voting))
        if piece is None:
            for read, row in await markets.with_versions(self._pool, [version.market_id]):
                piece = fragments.put((read, voting), serializers.detail(row, voting, policy), text=text)
        return piece  # type: ignore[return-value]

    async def tape(self, wanted: Sequence[trades.Version], *, text: bool) -> list[Trade]:
        fragments = self._trades[text]
        pieces = [fragments.get(version) for version in wanted]
        if None not in pieces:
            return pieces  # type: ignore[return-value]
        missing = [version for version in wanted if fragments.get(version) is None]
        fresh = {}
        for version, row in await trades.with_versions(self._pool, missing):
            fresh[version.signature, version.ordinal] = fragments.put(
                version, serializers.trade(row), text=text
            )
        pieces = [fragments.get(each) or fresh.get((each.signature, each.ordinal)) for each in wanted]
        return [piece for piece in pieces if piece is not None]  # type: ignore[misc]

    async def _read(
        self,
        fragments: FragmentStore[markets.Version],
        market_ids: Sequence[MarketId],
        view: Callable[[markets.MarketRow], msgspec.Struct],
        *,
        text: bool,
    ) -> dict[MarketId, msgspec.Raw]:
        if not market_ids:
            return {}
        found = await markets.with_versions(self._pool, market_ids)
        return {version.market_id: fragments.put(version, view(row), text=text) for version, row in found}

    def _under(self, policy: FinalizationPolicy) -> None:
        if policy.rules != self._rules:
            self._rules = policy.rules
            for fragments in self._markets.values():
                fragments.clear()
            for details in self._details.values():
                details.clear()


def _for_both(make: Callable[[], Made]) -> dict[bool, Made]:
    """One for numbers, one for numbers as text."""
    return {False: make(), True: make()}
