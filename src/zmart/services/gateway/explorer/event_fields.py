"""Format the fields of an event for people: amounts with units, outcomes as words, wallets and times as links or
dates."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from types import NoneType
from typing import Any, Literal, get_args, get_type_hints

import msgspec

from zmart.market import events
from zmart.market.outcomes import final_outcome_name
from zmart.market.types import Address, Bps, ChainTime, Lamports, PriceE9, Shares, Wallet
from zmart.services.gateway.explorer import numbers
from zmart.store.trades import TradeRow

_HINTS: dict[str, dict[str, Any]] = {
    kind.__name__: get_type_hints(kind) for kind in get_args(events.AnyEvent)
}
_HIDDEN = {"event", "market_id", "timestamp", "state"}
"""Fields that are not listed: the page shows title, market and time elsewhere; `state` is always that of a new
market."""
_LABELS = {
    "user": "Wallet",
    "new_price_yes": "Price of YES after",
    "b_parameter": "Liquidity parameter b",
    "ipfs_question_hash": "Question on IPFS",
    "evidence_hash": "Evidence on IPFS",
    "dispute_agree": "Say wrong",
    "dispute_disagree": "Say right",
    "agrees": "Say wrong",
    "disagrees": "Say right",
}
_VOTES = {"ProposalVoteSubmitted": ("for", "against"), "DisputeVoteSubmitted": ("wrong", "right")}
_CIDS = ("ipfs_question_hash", "evidence_hash")
_PERCENT = ("approval_percentage", "agreement_percentage")
_SECONDS = ("min_resolution_delay", "dispute_period")


class EventField(msgspec.Struct, frozen=True, kw_only=True):
    """A field of an event, formatted for a page. `exact`: the logged value with its unit, if `text` may be rounded,
    else empty. `moment`: the time of a field whose `kind` is time; its `text` is empty."""

    label: str
    text: str
    kind: Literal["text", "address", "wallet", "cid", "time"] = "text"
    exact: str = ""
    moment: datetime | None = None


def fields_of(name: str, details: Mapping[str, object]) -> list[EventField]:
    """Return the fields of the event `name`. If a truncated log lost the event (events.Unlogged), `details` are those
    of its instruction, and their numbers are listed without units."""
    hints = {} if "instruction" in details else _HINTS.get(name, {})
    displayed = {field: value for field, value in details.items() if field not in _HIDDEN}
    return [_field(name, field, value, _bare(hints.get(field))) for field, value in displayed.items()]


def fees_of(trade: TradeRow) -> list[EventField]:
    """Return the fees of a trade as fields. The event of a trade has only amounts that include the fees."""
    fees = {
        "Protocol fee": trade.protocol_fee_lamports,
        "Resolver's fee": trade.resolver_fee_lamports,
        "Fee for the pool": trade.lp_fee_lamports,
    }
    return [_number(label, "", lamports, Lamports) for label, lamports in fees.items()]


def _bare(hint: Any) -> Any:  # noqa: ANN401  # a NewType, a type, or a union of one with None
    kinds = [kind for kind in get_args(hint) if kind is not NoneType]
    return kinds[0] if kinds else hint


def _field(name: str, field: str, value: object, kind: Any) -> EventField:  # noqa: ANN401  # as above
    label = _LABELS.get(field, field.replace("_", " ").capitalize())
    if "outcome" in field and (value is None or isinstance(value, bool)):
        return EventField(
            label=label, text="-" if value is None and kind is None else final_outcome_name(value)
        )
    if value is None:
        return EventField(label=label, text="-")
    if isinstance(value, bool):
        yes, no = _VOTES.get(name, ("yes", "no"))
        return EventField(label=label, text=yes if value else no)
    if kind is Wallet or kind is Address:
        return EventField(label=label, text=str(value), kind="wallet" if kind is Wallet else "address")
    if field in _CIDS:
        return EventField(label=label, text=str(value), kind="cid")
    if isinstance(value, int):
        return _number(label, field, value, kind)
    return EventField(label=label, text=str(value))


def _number(label: str, field: str, value: int, kind: Any) -> EventField:  # noqa: ANN401  # as above
    if kind is Lamports:
        return EventField(label=label, text=f"{numbers.sol(value)} SOL", exact=f"{value} lamports")
    if kind is Shares:
        return EventField(label=label, text=f"{numbers.shares(value)} shares", exact=f"{value} units of 1e-9")
    if kind is PriceE9:
        return EventField(label=label, text=f"{numbers.cents(value)}%", exact=f"{value} of 1e9")
    if kind is Bps:
        return EventField(label=label, text=f"{numbers.percent(value)}%")
    if kind is ChainTime:
        return EventField(label=label, text="", kind="time", moment=datetime.fromtimestamp(value, UTC))
    if field in _PERCENT:
        return EventField(label=label, text=f"{value}%")
    if field in _SECONDS:
        return EventField(label=label, text=numbers.duration(value))
    return EventField(label=label, text=f"{value:,}")
