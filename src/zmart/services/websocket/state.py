"""The state that a subscription begins with: read once for many subscribers, true as of a known offset."""

from __future__ import annotations

import asyncio
import time
from typing import assert_never

import msgspec

from zmart.feed import rows
from zmart.feed.channels import Channel, Kind, is_market_id
from zmart.store import live_state
from zmart.store.live_state import LiveState
from zmart.store.pool import Pool

_FRESH_S = 1.0
_CACHED_MAX = 1_000
_ADDRESSES_MAX = 10_000
_ROW = msgspec.json.Decoder(dict[str, object])
_ROWS = msgspec.json.Decoder(list[dict[str, object]])


class Picture(msgspec.Struct, frozen=True):
    """`snapshot` is JSON, true as of offset `head` of `epoch`."""

    epoch: str
    head: int
    kept_from: int
    snapshot: msgspec.Raw
    taken_at: float


class States:
    """Pictures of channels, at most a second old, each read by one task however many wait for it."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._pictures: dict[str, Picture] = {}
        self._reading: dict[str, asyncio.Task[Picture]] = {}
        self._market_ids: dict[str, str] = {}

    async def picture(self, channel: Channel) -> Picture:
        """The state of a channel. Raises StoreError and driver errors when PostgreSQL is away."""
        name = str(channel)
        kept = self._pictures.get(name)
        if kept is not None and time.monotonic() - kept.taken_at < _FRESH_S:
            return kept
        reading = self._reading.get(name)
        if reading is None:
            reading = self._reading[name] = asyncio.create_task(self._read(channel, name))
        return await asyncio.shield(reading)

    async def market_id(self, market: str) -> str | None:
        """The id of a market that is named by id or address; None when there is no such address. An id may be
        subscribed to before its market exists."""
        if is_market_id(market):
            return market
        if not 32 <= len(market) <= 44:
            return None
        found = self._market_ids.get(market) or await live_state.market_id_at(self._pool, market)
        if found is not None and len(self._market_ids) < _ADDRESSES_MAX:
            self._market_ids[market] = found
        return found

    async def _read(self, channel: Channel, name: str) -> Picture:
        try:
            taken_at = time.monotonic()
            state = await _load(self._pool, channel)
            picture = Picture(
                state.epoch, state.head, state.kept_from, _snapshot(channel.kind, state), taken_at
            )
            if len(self._pictures) >= _CACHED_MAX:
                self._pictures.clear()
            self._pictures[name] = picture
            return picture
        finally:
            del self._reading[name]


async def _load(pool: Pool, channel: Channel) -> LiveState:
    market_id = channel.market_id
    match channel.kind:
        case Kind.MARKETS:
            return await live_state.markets(pool)
        case Kind.TRADES | Kind.ACTIVITY:
            return await live_state.trades(pool, market_id)
        case Kind.MARKET:
            return await live_state.market(pool, market_id or "")
        case Kind.VOTES:
            return await live_state.votes(pool, market_id or "")
        case Kind.DISCUSSIONS:
            return await live_state.discussions(pool, market_id or "")
        case _ as never:
            assert_never(never)


def _snapshot(kind: Kind, state: LiveState) -> msgspec.Raw:
    text = state.state
    if text is None:
        return msgspec.Raw(b"null")
    match kind:
        case Kind.MARKET:
            told: object = _market(_ROW.decode(text))
        case Kind.MARKETS:
            found = _ROW.decode(text)
            markets = msgspec.convert(found["rows"], list[dict[str, object]])
            told = {"count": found["count"], "markets": [_market(row) for row in markets]}
        case Kind.TRADES | Kind.ACTIVITY:
            told = [rows.trade(row) for row in _ROWS.decode(text)]
        case Kind.DISCUSSIONS:
            told = [rows.comment(row) for row in _ROWS.decode(text)]
        case Kind.VOTES:
            told = {"tally": _ROW.decode(text)}
        case _ as never:
            assert_never(never)
    return msgspec.Raw(msgspec.json.encode(told))


def _market(row: dict[str, object]) -> dict[str, object]:
    document = {name: row.get(name) for name in ("question", "description", "category", "tags")}
    return {
        **rows.market(row),
        **rows.market_figures(row),
        **document,
        "ends_at": rows.iso(row.get("ends_at")),
    }
