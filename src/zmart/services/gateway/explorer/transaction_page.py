"""What the page of a transaction shows: from the index where it is there, else what the chain says of it."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from zmart.client.shapes.transactions import SimulationError
from zmart.errors import ChainError
from zmart.market.types import MarketId, Signature, Slot
from zmart.services.gateway.context import AppContext
from zmart.services.gateway.explorer import market_timeline
from zmart.store import markets, transactions
from zmart.store.markets import MarketRow
from zmart.store.transactions import Logged

_MAX_EVENTS = 50


class TransactionEventRow(msgspec.Struct, frozen=True, kw_only=True):
    """One event in words, with the wallet behind it and its fields as they are."""

    title: str
    note: str
    market_id: MarketId | None
    fields: list[tuple[str, str]]


class TransactionFate(msgspec.Struct, frozen=True, kw_only=True):
    """`status`: landed, failed, live (it may still land), expired (it never will), unknown (nobody can say now)."""

    status: str
    slot: Slot | None = None
    confirmation: str | None = None
    error: SimulationError | None = None


async def values(context: AppContext, signature: Signature) -> dict[str, object]:
    """For the template transaction.html. Raises NotFound for one that neither index nor chain knows."""
    indexed = await transactions.one(context.pool, signature)
    logged = [] if indexed is None else await transactions.events(context.pool, indexed, _MAX_EVENTS)
    ids = {row.market_id for row in logged if row.market_id is not None}
    touched = await markets.several(context.pool, list(ids))
    if indexed is None or indexed.failed:
        fate = await _asked(context, signature)
    else:
        fate = TransactionFate(status="landed", slot=indexed.slot, confirmation=indexed.finality)
    return {
        "title": f"Transaction {signature[:8]}…",
        "signature": signature,
        "fate": fate,
        "is_indexed": indexed is not None,
        "lines": [_line(row, touched) for row in logged],
        "questions": {key: row.question for key, row in touched.items()},
    }


async def _asked(context: AppContext, signature: Signature) -> TransactionFate:
    try:
        said = await context.relay.state_of(signature)
    except ChainError:
        return TransactionFate(status="unknown")
    return TransactionFate(
        status=said.status, slot=said.slot, confirmation=said.confirmation, error=said.error
    )


def _line(row: Logged, touched: Mapping[MarketId, MarketRow]) -> TransactionEventRow:
    said = msgspec.json.decode(row.event, type=dict[str, object])
    shown = {name: value for name, value in said.items() if name not in ("event", "market_id")}
    market = touched.get(row.market_id) if row.market_id else None
    wallet = said.get("creator", said.get("user"))
    is_debt = row.name == "LiquidityWithdrawn" and market is not None and wallet != market.creator
    return TransactionEventRow(
        title=market_timeline.title(row.name, is_debt=is_debt),
        note=market_timeline.note(row.name, said),
        market_id=row.market_id,
        fields=[(name, _text(value)) for name, value in shown.items()],
    )


def _text(value: object) -> str:
    """As the chain logged it: exact integers, true and false."""
    match value:
        case None:
            return "-"
        case bool():
            return str(value).lower()
        case _:
            return str(value)
