"""Read the state of a channel with which a subscription begins: once for many subscribers, as of a known offset."""

from __future__ import annotations

import asyncio
import time
from typing import assert_never

import msgspec

from zmart.feed import rows
from zmart.feed.channels import Channel, ChannelKind
from zmart.feed.shapes import MarketsSnapshot, Tallies, VotesSnapshot
from zmart.feed.tasks import retrieve
from zmart.market.identifiers import MarketRef, parse_market
from zmart.market.types import MarketId
from zmart.services.websocket import metrics
from zmart.store import live_state, markets
from zmart.store.live_state import LiveState
from zmart.store.pool import Pool
from zmart.store.time_limit import answer_within

FRESH_S = 1.0
_WITHIN_S = 1.5
_MAX_BYTES = 16 << 20
_STATE_BYTES = 600
"""The memory that a state takes besides its JSON, in bytes: its channel's name, its fields and its entry of the
dict."""
_ADDRESSES_MAX = 10_000


class NewestMarkets(msgspec.Struct, frozen=True):
    """The newest markets, at most 50, and `count`, the number of all markets."""

    count: int
    rows: list[rows.MarketWithText]


_MARKET = msgspec.json.Decoder(rows.MarketWithText)
_MARKETS = msgspec.json.Decoder(NewestMarkets)
_TRADES = msgspec.json.Decoder(list[rows.TradeJson])
_COMMENTS = msgspec.json.Decoder(list[rows.CommentJson])
_TALLIES = msgspec.json.Decoder(Tallies)


class ChannelState(msgspec.Struct, frozen=True):
    """The state of a channel: `snapshot` is JSON, as of offset `head` of `epoch`.

    `kept_from` is the first offset that the feed still held then. `taken_at` is a time of the monotonic clock.
    """

    epoch: str
    head: int
    kept_from: int
    snapshot: msgspec.Raw
    taken_at: float


class ChannelStates:
    """Read the states of channels, at most a second old; concurrent requests for a channel share one read.

    States are held up to `max_bytes`, beyond which the oldest are evicted. Those that are older than a second are
    evicted with the next read.
    """

    def __init__(self, pool: Pool, max_bytes: int = _MAX_BYTES) -> None:
        self._pool = pool
        self._max_bytes = max_bytes
        self._size_bytes = 0
        self._states: dict[str, ChannelState] = {}
        self._reading: dict[str, asyncio.Task[ChannelState]] = {}
        self._market_ids: dict[MarketRef, MarketId] = {}

    async def state(self, channel: Channel, epoch: str) -> ChannelState:
        """Return the state of a channel in `epoch`, or in a newer epoch if the database has begun one since.

        Raises StoreError if PostgreSQL does not answer within 1.5 seconds.
        """
        cached = self._states.get(str(channel))
        if cached is not None and _is_fresh(cached) and cached.epoch == epoch:
            return cached
        state = await self._shared_read(channel)
        if state.epoch != epoch:  # that read may have begun before `epoch`
            state = await self._shared_read(channel)
        return state

    async def _shared_read(self, channel: Channel) -> ChannelState:
        name = str(channel)
        reading = self._reading.get(name)
        if reading is None:
            reading = self._reading[name] = asyncio.create_task(self._read(channel, name))
            reading.add_done_callback(retrieve)
        return await asyncio.shield(reading)

    async def market_id(self, market: str) -> MarketId | None:
        """Return the id of a market that is named by id or address; None for an unknown address or an invalid name.

        An id is returned even if its market does not exist yet, so that a client may subscribe in advance. Raises
        StoreError if PostgreSQL is needed and unavailable.
        """
        ref = parse_market(market)
        if ref is None:
            return None
        if ref.id is not None:
            return ref.id
        market_id = self._market_ids.get(ref) or await markets.id_of(self._pool, ref)
        if market_id is not None and len(self._market_ids) < _ADDRESSES_MAX:
            self._market_ids[ref] = market_id
        return market_id

    async def _read(self, channel: Channel, name: str) -> ChannelState:
        try:
            taken_at = time.monotonic()
            async with answer_within(_WITHIN_S):
                live = await _load(self._pool, channel)
            state = ChannelState(
                live.epoch, live.head, live.kept_from, _snapshot(channel.kind, live), taken_at
            )
            self._keep(name, state)
            return state
        finally:
            del self._reading[name]

    def _keep(self, name: str, state: ChannelState) -> None:
        """Store a state as the newest. Those that are not fresh any more are evicted, and the oldest beyond the
        limit."""
        self._forget(name)
        self._states[name] = state
        self._size_bytes += _size_bytes_of(state)
        while self._states:
            oldest = next(iter(self._states))
            if self._size_bytes <= self._max_bytes and _is_fresh(self._states[oldest]):
                break
            self._forget(oldest)
        metrics.states_bytes.set(self._size_bytes)

    def _forget(self, name: str) -> None:
        state = self._states.pop(name, None)
        if state is not None:
            self._size_bytes -= _size_bytes_of(state)


def _is_fresh(state: ChannelState) -> bool:
    return time.monotonic() - state.taken_at < FRESH_S


def _size_bytes_of(state: ChannelState) -> int:
    return _STATE_BYTES + len(memoryview(state.snapshot))


async def _load(pool: Pool, channel: Channel) -> LiveState:
    market_id = channel.market_id
    match channel.kind:
        case ChannelKind.MARKETS:
            return await live_state.markets(pool)
        case ChannelKind.TRADES | ChannelKind.ACTIVITY:
            return await live_state.trades(pool, market_id)
        case ChannelKind.MARKET:
            return await live_state.market(pool, market_id or "")
        case ChannelKind.VOTES:
            return await live_state.votes(pool, market_id or "")
        case ChannelKind.DISCUSSIONS:
            return await live_state.discussions(pool, market_id or "")
        case _ as never:
            assert_never(never)


def _snapshot(kind: ChannelKind, state: LiveState) -> msgspec.Raw:
    text = state.state
    if text is None:
        return msgspec.Raw(b"null")
    match kind:
        case ChannelKind.MARKET:
            data: object = rows.market_snapshot(_MARKET.decode(text))
        case ChannelKind.MARKETS:
            newest = _MARKETS.decode(text)
            data = MarketsSnapshot(
                count=newest.count, markets=[rows.market_snapshot(row) for row in newest.rows]
            )
        case ChannelKind.TRADES | ChannelKind.ACTIVITY:
            data = [rows.trade(row) for row in _TRADES.decode(text)]
        case ChannelKind.DISCUSSIONS:
            data = [rows.comment(row) for row in _COMMENTS.decode(text)]
        case ChannelKind.VOTES:
            data = VotesSnapshot(tally=_TALLIES.decode(text))
        case _ as never:
            assert_never(never)
    return msgspec.Raw(msgspec.json.encode(data))
