"""Fold events into the projections: each market of a batch once, on top of its row or again from its first event.

Webhooks bring events in any order. A trade whose predecessor is missing cannot be folded, so its market waits at the
last event before the gap. The missing event and those that wait are then folded on top of the row.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Coroutine, Iterable, Mapping, Sequence

import msgspec

from zmart.chain.program import Program
from zmart.market.events import (
    ChainEvent,
    MarketCreated,
    SharesBought,
    SharesSold,
    Unlogged,
    WinningsClaimed,
)
from zmart.market.fold import Folded, FoldRules, ImpossibleEvent, fold
from zmart.market.fold_config import ChainKey, ConfigHistory, chain_key, is_config
from zmart.market.fold_state import FoldedVote, MarketFold, PositionFold
from zmart.market.pricing import PricingModelName
from zmart.market.types import Address, MarketId, Slot, Wallet
from zmart.services.indexer import metrics
from zmart.store import chain_events, projections
from zmart.store.chain_events import AffectedProjections
from zmart.store.error_text import storable
from zmart.store.pool import Connection
from zmart.store.projections import FoldHead, ProjectionRows

Mapped = tuple[ChainEvent, MarketId | None]
Store = Callable[[], Coroutine[None, None, None]]
_AT_A_STRETCH = 64
"""How many events are folded before the event loop may run other tasks: about 2 ms of work."""
_MARKETS_AT_ONCE = 200
REFOLD_EVENTS_MAX = 20_000
"""Maximum number of events in memory when markets are folded again."""
REFOLD_PIECE_EVENTS = 5_000
"""How many events are read and folded at a time if a market has more than REFOLD_EVENTS_MAX."""


class Projector:
    """Fold events into rows. Every method runs inside the caller's transaction, under the writer's lock."""

    def __init__(self, program: Program, pricing: PricingModelName) -> None:
        self.program = program
        self._address_of = program.addresses.market
        self._pricing: PricingModelName = pricing
        self.refold_events_max = REFOLD_EVENTS_MAX
        self.refold_piece_events = REFOLD_PIECE_EVENTS

    async def map_markets(self, connection: Connection, events: Sequence[ChainEvent]) -> list[Mapped]:
        """Return each event with its market's id; None for events of the config and claims of unknown markets.

        A claim names only the market's account, so its id is looked up.
        """
        claimed = {e.event.market for e in events if isinstance(e.event, WinningsClaimed)}
        known = await chain_events.markets_at(connection, claimed) | self._created(events)
        return [(event, chain_events.market_named(event.event, known)) for event in events]

    async def apply(self, connection: Connection, events: Sequence[Mapped], store: Store) -> None:
        """Store new events by calling `store`, and fold them into the projections.

        Usually the fold runs while the database still stores the events. New markets and config events must be stored
        first: claims are assigned to stored markets, and fees follow from the stored config.
        """
        created = self._created(event for event, _ in events)
        config_keys = [chain_key(event) for event, _ in events if is_config(event)]
        if created or config_keys or not events:
            await store()
            store = _nothing
        to_refold = await chain_events.map_claims(connection, created)
        rules = await self._rules(connection)
        if config_keys:
            await projections.write_config(connection, rules.configs.latest)
            to_refold |= await projections.folded_after(connection, min(config_keys))
        by_market: dict[MarketId, list[ChainEvent]] = {}
        for event, market_id in events:
            if market_id is not None:
                by_market.setdefault(market_id, []).append(event)
        for new_events in by_market.values():
            new_events.sort(key=chain_key)
        heads = await projections.read_heads(connection, by_market.keys())
        on_top, gaps = {}, []
        for market_id, new_events in by_market.items():
            match _plan(heads.get(market_id), chain_key(new_events[0])):
                case "on top" if market_id not in to_refold:
                    on_top[market_id] = new_events
                case "closes a gap" if market_id not in to_refold:
                    gaps.append(heads[market_id])
                case "again":
                    to_refold.add(market_id)
        await self._extend(connection, rules, on_top, heads, store)
        if gaps:
            to_refold |= await self._close(connection, rules, gaps)
        await self.refold(connection, to_refold, rules)

    async def refold(
        self, connection: Connection, market_ids: Collection[MarketId], rules: FoldRules | None = None
    ) -> None:
        """Fold these markets again from their first event, and delete rows that the fold does not produce.

        `rules` are read from the stored config events if they are not given.
        """
        if not market_ids:
            return
        rules = rules or await self._rules(connection)
        counts = await chain_events.counts(connection, market_ids)
        together: list[MarketId] = []
        waiting = 0
        for market_id in market_ids:
            if (count := counts.get(market_id, 0)) > self.refold_events_max:
                await self._refold_long(connection, market_id, rules)
                continue
            if waiting + count > self.refold_events_max:
                await self._refold_together(connection, together, rules)
                together, waiting = [], 0
            together.append(market_id)
            waiting += count
        await self._refold_together(connection, together, rules)
        metrics.REFOLDS.inc(len(market_ids))

    async def _refold_together(
        self, connection: Connection, market_ids: Collection[MarketId], rules: FoldRules
    ) -> None:
        rows = ProjectionRows()
        for market_id, events in (await chain_events.of_markets(connection, market_ids)).items():
            if events:
                _run(market_id, Folded(), events, rules, FoldHead(market_id=market_id), rows)
                await asyncio.sleep(0)
        await projections.delete_stale(connection, market_ids, rows)
        await projections.write(connection, rows)

    async def _refold_long(self, connection: Connection, market_id: MarketId, rules: FoldRules) -> None:
        """Fold a market with many events again, in pieces, so that a market of any length fits into memory."""
        state, head, rows = Folded(), FoldHead(market_id=market_id), ProjectionRows()
        votes: list[FoldedVote] = []
        async for events in chain_events.of_long_market(connection, market_id, self.refold_piece_events):
            rows = ProjectionRows()
            _run(market_id, state, events, rules, head, rows)
            [head] = rows.heads
            votes += state.votes
            state.trades, state.votes = [], []
            await projections.write(connection, ProjectionRows(trades=rows.trades, votes=rows.votes))
            if head.error is not None:
                break
        last = ProjectionRows(markets=rows.markets, positions=rows.positions, heads=[head], votes=votes)
        await projections.delete_stale_of_long(connection, market_id, last)
        await projections.write(
            connection, ProjectionRows(markets=last.markets, positions=last.positions, heads=[head])
        )

    async def _close(
        self, connection: Connection, rules: FoldRules, heads: Sequence[FoldHead]
    ) -> set[MarketId]:
        """Fold the events after these heads, which are stored, on top of the rows. Return the markets that must be
        folded from their first event instead."""
        waiting = {head.market_id: await self._events_after(connection, head) for head in heads}
        ready = {market_id: events for market_id, events in waiting.items() if events}
        await self._extend(connection, rules, ready, {head.market_id: head for head in heads}, _nothing)
        return waiting.keys() - ready.keys()

    async def _events_after(self, connection: Connection, head: FoldHead) -> list[ChainEvent]:
        """Return the market's events after that of `head`; an empty list if that is gone, or if there are too many."""
        assert head.slot is not None  # of an event that was folded
        most = self.refold_events_max
        events = await chain_events.of_market_from(connection, head.market_id, Slot(head.slot), most)
        if len(events) == most:
            return []
        for position, event in enumerate(events):
            if (event.signature, event.ordinal) == (head.signature, head.ordinal):
                return events[position + 1 :]
        return []

    async def refold_affected(self, connection: Connection, affected: AffectedProjections) -> None:
        """Fold again the markets that changed transactions affect; all markets if their config events changed."""
        if not affected.config:
            await self.refold(connection, affected.markets)
            return
        await self.refold_config(connection)
        after = ""
        while page := await chain_events.market_ids(connection, after, _MARKETS_AT_ONCE):
            await self.refold(connection, page)
            after = page[-1]

    async def refold_config(self, connection: Connection) -> None:
        """Fold the program's config from all its events and write it."""
        await projections.write_config(connection, (await self._rules(connection)).configs.latest)

    async def _extend(
        self,
        connection: Connection,
        rules: FoldRules,
        new_events: Mapping[MarketId, Sequence[ChainEvent]],
        heads: Mapping[MarketId, FoldHead],
        store: Store,
    ) -> None:
        markets = await projections.read_markets(connection, [m for m in new_events if m in heads])
        positions = await projections.read_positions(connection, _holders(new_events))
        storing = asyncio.ensure_future(store())
        try:
            await asyncio.sleep(0)  # lets `store` send its statement first
            rows = await self._fold(rules, new_events, heads, markets, positions)
            ready = await projections.statements(rows)
        finally:
            await storing
        await projections.execute(connection, ready)

    async def _fold(
        self,
        rules: FoldRules,
        new_events: Mapping[MarketId, Sequence[ChainEvent]],
        heads: Mapping[MarketId, FoldHead],
        markets: Mapping[MarketId, MarketFold],
        positions: Mapping[MarketId, dict[Wallet, PositionFold]],
    ) -> ProjectionRows:
        rows = ProjectionRows()
        done = 0
        for market_id, events in new_events.items():
            if done // _AT_A_STRETCH != (done := done + len(events)) // _AT_A_STRETCH:
                await asyncio.sleep(0)
            state = Folded(markets.get(market_id), positions.get(market_id, {}))
            _run(market_id, state, events, rules, heads.get(market_id) or FoldHead(market_id=market_id), rows)
        return rows

    async def _rules(self, connection: Connection) -> FoldRules:
        configs = ConfigHistory(await chain_events.of_config(connection))
        return FoldRules.of(self._pricing, configs, self._address_of)

    def _created(self, events: Iterable[ChainEvent]) -> dict[Address, MarketId]:
        created = (e.event.market_id for e in events if isinstance(e.event, MarketCreated))
        return {self._address_of(market_id): market_id for market_id in created}


async def _nothing() -> None:
    """Do nothing, in place of `store`: the events are stored already."""


def _plan(head: FoldHead | None, first: ChainKey) -> str:
    """Return how to fold a market's new events, of which `first` is the earliest.

    "on top": on top of the market's row. "closes a gap": on top of the row, too, with the events that wait behind the
    one at which the market is stuck. "again": from its first event, because an event came later than others that are
    folded. "wait": not at all, because the market is stuck at an earlier event.
    """
    if head is None:
        return "on top"
    if head.error_key is not None:
        if first[0] > head.error_key[0]:
            return "wait"
        return "closes a gap" if head.key is not None and first > head.key else "again"
    if head.key is None or first > head.key:
        return "on top"
    return "again"


def _holders(new_events: Mapping[MarketId, Sequence[ChainEvent]]) -> set[tuple[MarketId, Wallet]]:
    return {
        (market_id, event.event.user)
        for market_id, events in new_events.items()
        for event in events
        if isinstance(event.event, SharesBought | SharesSold | WinningsClaimed | Unlogged)
    }


def _run(
    market_id: MarketId,
    state: Folded,
    events: Sequence[ChainEvent],
    rules: FoldRules,
    head: FoldHead,
    rows: ProjectionRows,
) -> None:
    """Fold a market's events into `rows` as far as possible.

    The head added to `rows` names the last event that was folded, and the event that could not be folded, if any.
    """
    try:
        fold(state, events, rules)
        head = _head(market_id, events[-1])
    except ImpossibleEvent as problem:
        failed = problem.event
        position = next(i for i, event in enumerate(events) if event is failed)
        head = msgspec.structs.replace(
            _head(market_id, events[position - 1]) if position else head,
            error=storable(str(problem)),
            error_slot=failed.slot,
            error_index_in_block=failed.index_in_block,
            error_ordinal=failed.ordinal,
        )
    rows.heads.append(head)
    if state.market is not None:
        rows.markets.append(state.market)
    rows.positions.extend(state.positions.values())
    rows.trades.extend(state.trades)
    rows.votes.extend(state.votes)


def _head(market_id: MarketId, event: ChainEvent) -> FoldHead:
    return FoldHead(
        market_id=market_id,
        signature=event.signature,
        slot=event.slot,
        index_in_block=event.index_in_block,
        ordinal=event.ordinal,
    )
