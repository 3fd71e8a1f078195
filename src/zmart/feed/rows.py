"""Convert the rows of published tables to the data that clients see. Pure, so that a replay gives equal data.

Money and shares are integers (1e-9 units); prices are decimal strings with 9 places under snake_case names and
numbers from 0 to 1 under the camelCase names of the first web client; times are ISO 8601 in UTC with milliseconds.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from msgspec import UNSET, Struct, UnsetType

from zmart.feed.shapes import (
    Action,
    CommentData,
    MarketData,
    MarketSnapshotData,
    TallyData,
    TradeData,
    VoteChange,
)
from zmart.market.amounts import price_text
from zmart.market.columns import MarketColumns, TradeColumns
from zmart.market.outcomes import choice_name, side_name
from zmart.market.published import same_named
from zmart.market.times import iso
from zmart.market.types import PRICE_ONE, VoteKind
from zmart.store.outcomes import choice_of, outcome_of

MarketJson = MarketColumns[str, str, datetime]
"""A row of `markets` in the JSON of PostgreSQL's to_jsonb."""

TradeJson = TradeColumns[Literal["buy", "sell"], str, datetime]
"""A row of `trades` in the JSON of PostgreSQL's to_jsonb."""


class MarketWithText(MarketColumns[str, str, datetime], frozen=True, kw_only=True):
    """A row of `markets` with the fields of its question document, which are None while they are unknown."""

    question: str | None = None
    description: str | None = None
    category: str | None = None
    tags: list[str] | None = None
    ends_at: datetime | None = None


class VoteJson(Struct, frozen=True, kw_only=True):
    """A row of `votes` (with `created_at`) or of `onchain_votes` (with `voted_at` and `slot`)."""

    kind: Literal["proposal", "dispute"]
    choice: Literal["for", "against"]
    wallet: str
    created_at: datetime | None = None
    voted_at: datetime | None = None
    slot: int | UnsetType = UNSET
    tally: TallyData | None = None


class CommentJson(Struct, frozen=True, kw_only=True):
    """A row of `discussions`."""

    id: str
    market_id: str
    wallet: str
    content: str
    parent_id: str | None
    created_at: datetime
    deleted_at: datetime | None


def market(row: MarketJson) -> MarketData:
    """Convert a market's row to the names that the HTTP API uses."""
    return MarketData(**_market_fields(row, MarketData))


def market_snapshot(row: MarketWithText) -> MarketSnapshotData:
    """Convert a market's row to the market of a snapshot: with its question document, prices and shares."""
    return MarketSnapshotData(**_market_fields(row, MarketSnapshotData), **price_figures(row))


def _market_fields(row: MarketJson, shape: type[MarketData]) -> dict[str, Any]:
    return {
        **same_named(row, shape),
        "proposed_outcome": outcome_of(row.proposed_outcome),
        "final_outcome": outcome_of(row.final_outcome),
        "id": row.market_id,
        "on_chain_address": row.address,
        "status": row.state,
        "creator_wallet": row.creator,
        "liquidity_parameter": row.b_parameter,
        "total_yes_shares": row.shares_yes,
        "total_no_shares": row.shares_no,
        "current_price_yes": price_text(row.price_yes_e9),
        "current_price_no": price_text(PRICE_ONE - row.price_yes_e9),
    }


def price_figures(row: MarketJson) -> dict[str, Any]:
    """Return the prices of YES and NO, from 0 to 1, and the sum of all shares, an integer in units of 1e-9."""
    return {
        "price_yes": row.price_yes_e9 / PRICE_ONE,
        "price_no": (PRICE_ONE - row.price_yes_e9) / PRICE_ONE,
        "total_shares": row.shares_yes + row.shares_no,
    }


def trade(row: TradeJson) -> TradeData:
    """Convert a trade's row; `price` is the average price of one share, `price_after` the YES price after the trade."""
    identity = f"{row.signature}:{row.ordinal}"
    return TradeData(
        trade_id=identity,
        id=identity,
        market_id=row.market_id,
        trade_type=row.side,
        outcome=side_name(bool(outcome_of(row.outcome))),
        shares=row.shares,
        cost=row.cost_lamports,
        price=price_text(row.cost_lamports * PRICE_ONE // row.shares if row.shares else 0),
        price_after=price_text(row.price_yes_after_e9),
        user_wallet=row.wallet,
        trader=row.wallet,
        user=row.wallet,
        tx_signature=row.signature,
        slot=row.slot,
        created_at=iso(row.traded_at),
    )


def vote(row: VoteJson, action: Action) -> VoteChange:
    """Convert the row of a vote; `tally` counts all votes of its kind in the market as of the change."""
    choice = choice_of(row.choice)
    return VoteChange(
        action=action,
        vote_type=row.kind,
        vote=choice,
        choice=choice_name(VoteKind(row.kind), choice),
        user_wallet=row.wallet,
        source="onchain" if row.voted_at else "offchain",
        created_at=iso(row.voted_at or row.created_at),
        tally=row.tally,
    )


def comment(row: CommentJson, *, is_deleted: bool = False) -> CommentData:
    """Convert a comment's row; the content of a deleted comment is None."""
    return CommentData(
        id=row.id,
        market_id=row.market_id,
        user_wallet=row.wallet,
        content=None if is_deleted or row.deleted_at else row.content,
        parent_id=row.parent_id,
        created_at=iso(row.created_at),
        deleted_at=iso(row.deleted_at),
    )
