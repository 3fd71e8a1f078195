"""A market's life as its events tell it."""

from __future__ import annotations

import msgspec

from zmart.client.shapes.markets import Timeline, TimelineEntry
from zmart.market.times import iso_of_seconds
from zmart.market.types import MarketId, Wallet
from zmart.services.gateway.api import paging
from zmart.services.gateway.api.paging import OffsetKey
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
"""Events of a market's life, and the state that each leads to; None where it leaves the state alone."""

_ACTORS = ("creator", "approved_by", "resolver", "initiator", "cancelled_by")
_SIGNER = "user"
"""Who signed an instruction whose event a cut log lost (events.Unlogged); the events above have no such field."""
_PLAIN = {"event", "market_id", "timestamp", "cancelled_at", *_ACTORS, _SIGNER}


async def of(pool: Pool, market_id: MarketId, limit: int, offset: int = 0) -> Timeline:
    """Return state changes in chain order. New ones come last, so an offset keeps its place."""
    rows, more = paging.cut(await status.events_of(pool, market_id, list(_STATES), limit + 1, offset), limit)
    found = [_entry(row) for row in rows]
    following = paging.cursor_of(OffsetKey(offset + limit)) if more and rows else None
    return Timeline(market_id=market_id, timeline=found, count=len(found), next_cursor=following)


def _entry(row: MarketEvent) -> TimelineEntry:
    said = msgspec.json.decode(row.event, type=dict[str, object])
    actor = next((said[name] for name in (*_ACTORS, _SIGNER) if said.get(name)), None)
    moment = said.get("timestamp", said.get("cancelled_at"))
    return TimelineEntry(
        event=row.name,
        state=_state(row.name, said),
        timestamp=iso_of_seconds(int(str(moment))),
        actor=None if actor is None else Wallet(str(actor)),
        slot=row.slot,
        signature=row.signature,
        details={name: value for name, value in said.items() if name not in _PLAIN} | _debt(row, actor),
    )


def _debt(row: MarketEvent, actor: object) -> dict[str, object]:
    """Whether a withdrawal was the creator's, or of what the market owed another wallet (docs/program.md)."""
    return {"is_debt": actor != row.creator} if row.name == "LiquidityWithdrawn" else {}


def _state(name: str, said: dict[str, object]) -> str | None:
    if name == "DisputeAggregated":
        succeeded = said.get("dispute_succeeded")  # a cut log does not tell
        return None if succeeded is None else "RESOLVING" if succeeded else "FINALIZED"
    return _STATES[name]
