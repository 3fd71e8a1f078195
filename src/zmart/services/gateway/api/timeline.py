"""Build a market's timeline from the events of its lifecycle."""

from __future__ import annotations

import msgspec

from zmart.client.shapes.markets import Timeline, TimelineEntry
from zmart.market.times import iso_of_seconds
from zmart.market.types import MarketId, Wallet
from zmart.services.gateway.api import paging
from zmart.store import status
from zmart.store.pool import Pool
from zmart.store.status import MarketEvent

_STATES = {
    "MarketCreated": "PROPOSED",
    "ProposalAggregated": None,
    "ProposalApproved": "APPROVED",
    "MarketActivated": "ACTIVE",
    "MarketResolved": "RESOLVING",
    "DisputeInitiated": "DISPUTED",
    "DisputeAggregated": None,
    "MarketFinalized": "FINALIZED",
    "MarketCancelled": "CANCELLED",
    "LiquidityWithdrawn": None,
}
"""Events of a market's lifecycle, each with the state to which it leads. None if the state stays the same; for
DisputeAggregated the state depends on the event (`_state`)."""

_ACTORS = ("creator", "approved_by", "resolver", "initiator", "cancelled_by")
_SIGNER = "user"
"""The field with the signer in events.Unlogged, which stands for an event that a truncated log lost. The events of
_STATES themselves have no such field."""
_PLAIN = {"event", "market_id", "timestamp", "cancelled_at", *_ACTORS, _SIGNER}


async def of(pool: Pool, market_id: MarketId, limit: int, offset: int = 0) -> Timeline:
    """Return a page of the market's lifecycle events in chain order, beginning at `offset`. New events come last, so an
    offset always names the same event."""
    rows, more = paging.split_page(
        await status.events_of(pool, market_id, list(_STATES), limit + 1, offset), limit
    )
    entries = [_entry(row) for row in rows]
    following = paging.cursor_at(offset + limit) if more and rows else None
    return Timeline(market_id=market_id, timeline=entries, count=len(entries), next_cursor=following)


def _entry(row: MarketEvent) -> TimelineEntry:
    event = msgspec.json.decode(row.event, type=dict[str, object])
    actor = next((event[name] for name in (*_ACTORS, _SIGNER) if event.get(name)), None)
    moment = event.get("timestamp", event.get("cancelled_at"))
    return TimelineEntry(
        event=row.name,
        state=_state(row.name, event),
        timestamp=iso_of_seconds(int(str(moment))),
        actor=None if actor is None else Wallet(str(actor)),
        slot=row.slot,
        signature=row.signature,
        details={name: value for name, value in event.items() if name not in _PLAIN} | _debt(row, actor),
    )


def _debt(row: MarketEvent, actor: object) -> dict[str, object]:
    """Return the detail `is_debt` of a withdrawal: whether a wallet other than the creator withdrew what the market
    owed it (docs/program.md). Empty for other events."""
    return {"is_debt": actor != row.creator} if row.name == "LiquidityWithdrawn" else {}


def _state(name: str, event: dict[str, object]) -> str | None:
    if name == "DisputeAggregated":
        succeeded = event.get("dispute_succeeded")  # unknown after a truncated log
        return None if succeeded is None else "RESOLVING" if succeeded else "FINALIZED"
    return _STATES[name]
