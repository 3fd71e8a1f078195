"""Collect the content of a transaction's page: from the index, and from the chain what the index does not have."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime

import msgspec

from zmart.chain.network_fees import NetworkFee, parse_fee
from zmart.client.shapes.transactions import SimulationError
from zmart.errors import ChainError, DecodeError
from zmart.market.types import MarketId, Signature, Slot
from zmart.services.gateway.context import AppContext
from zmart.services.gateway.explorer import event_fields, market_timeline
from zmart.services.gateway.explorer.event_fields import EventField
from zmart.store import markets, trades, transactions
from zmart.store.markets import MarketRow
from zmart.store.transactions import LoggedEvent

_MAX_EVENTS = 50
_FEE_WAIT_S = 0.5


class TransactionEventRow(msgspec.Struct, frozen=True, kw_only=True):
    """A row of a transaction's page: one event in words, with its fields. `at` is the event's time by the chain's
    clock; None if the event has none."""

    title: str
    note: str
    market_id: MarketId | None
    at: datetime | None
    fields: list[EventField]


class TransactionFate(msgspec.Struct, frozen=True, kw_only=True):
    """The status of a transaction: landed, failed, live (it may still land), expired (it never can), or unknown (the
    RPC does not answer)."""

    status: str
    slot: Slot | None = None
    confirmation: str | None = None
    error: SimulationError | None = None


async def values(context: AppContext, signature: Signature) -> dict[str, object]:
    """Return the values for the template transaction.html. Raises NotFound if neither index nor chain knows the
    transaction."""
    indexed = await transactions.one(context.pool, signature)
    logged = [] if indexed is None else await transactions.events(context.pool, indexed, _MAX_EVENTS)
    made = [] if indexed is None else await trades.of_transaction(context.pool, indexed.slot, signature)
    fees = {trade.ordinal: event_fields.fees_of(trade) for trade in made}
    ids = {row.market_id for row in logged if row.market_id is not None}
    touched = await markets.several(context.pool, list(ids))
    if indexed is None or indexed.failed:
        fate = await _fate_on_chain(context, signature)
    else:
        fate = TransactionFate(status="landed", slot=indexed.slot, confirmation=indexed.finality)
    lines = [_line(row, touched, fees.get(row.ordinal, [])) for row in logged]
    return {
        "title": f"Transaction {signature[:8]}…",
        "signature": signature,
        "fate": fate,
        "is_indexed": indexed is not None,
        "lines": lines,
        "at": next((line.at for line in lines if line.at is not None), None),
        "fee": await _fee(context, signature),
        "gateway": context.settings.ipfs_gateway_url,
        "questions": {key: row.question for key, row in touched.items()},
    }


async def _fate_on_chain(context: AppContext, signature: Signature) -> TransactionFate:
    try:
        state = await context.relay.state_of(signature)
    except ChainError:
        return TransactionFate(status="unknown")
    return TransactionFate(
        status=state.status, slot=state.slot, confirmation=state.confirmation, error=state.error
    )


def _line(
    row: LoggedEvent, touched: Mapping[MarketId, MarketRow], fees: list[EventField]
) -> TransactionEventRow:
    details = msgspec.json.decode(row.event, type=dict[str, object])
    market = touched.get(row.market_id) if row.market_id else None
    wallet = details.get("creator", details.get("user"))
    is_debt = row.name == "LiquidityWithdrawn" and market is not None and wallet != market.creator
    return TransactionEventRow(
        title=market_timeline.title(row.name, is_debt=is_debt),
        note=market_timeline.note(row.name, details),
        market_id=row.market_id,
        at=_moment(details.get("timestamp", details.get("cancelled_at"))),
        fields=[*event_fields.fields_of(row.name, details), *fees],
    )


def _moment(timestamp: object) -> datetime | None:
    return datetime.fromtimestamp(timestamp, UTC) if isinstance(timestamp, int) else None


async def _fee(context: AppContext, signature: Signature) -> NetworkFee | None:
    """Return the network fee of a transaction, as the RPC reports it; None if no RPC reports it within 0.5 s."""
    if context.rpc is None:
        return None
    try:
        async with asyncio.timeout(_FEE_WAIT_S):
            raw = await context.rpc.get_transaction_json(signature)
            return None if raw is None else parse_fee(raw)
    except (ChainError, DecodeError, TimeoutError):
        return None
