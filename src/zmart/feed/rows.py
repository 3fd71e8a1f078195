"""Convert rows of published tables to the form that clients see. Pure, so that replays are equal.

Money and shares are integers (1e-9 units); prices are decimal strings with 9 places under snake_case names and
numbers from 0 to 1 under the camelCase names of the first web client; times are ISO 8601 in UTC with milliseconds.
"""

from __future__ import annotations

from collections.abc import Mapping

from zmart.market import times
from zmart.market.types import PRICE_ONE
from zmart.store.outcomes import CHOICES, outcome_of

# A JSON object as PostgreSQL's to_jsonb gives it; which columns it has is fixed by the schema.
Row = Mapping[str, object]

_MARKET_TIMES = (
    "created_at",
    "proposal_aggregated_at",
    "approved_at",
    "activated_at",
    "resolution_proposed_at",
    "dispute_initiated_at",
    "finalized_at",
    "cancelled_at",
)
_MARKET_AS_IS = (
    "market_id",
    "state",
    "creator",
    "b_parameter",
    "initial_liquidity",
    "current_liquidity",
    "shares_yes",
    "shares_no",
    "total_volume",
    "trades_count",
    "traders",
    "question_cid",
    "evidence_cid",
    "resolver",
    "was_disputed",
    "proposal_likes",
    "proposal_dislikes",
    "dispute_agree",
    "dispute_disagree",
)
_CHOICES = {
    ("proposal", "for"): "like",
    ("proposal", "against"): "dislike",
    ("dispute", "for"): "agree",
    ("dispute", "against"): "disagree",
}


def iso(value: object) -> str | None:
    """Format a time of a row (text with a zone, as in PostgreSQL's JSON) for clients; None stays None."""
    return None if value is None else times.iso(times.parse_iso(str(value)))


def price_text(price_e9: int) -> str:
    """Format a price as a decimal string with 9 places."""
    return f"{price_e9 // PRICE_ONE}.{price_e9 % PRICE_ONE:09d}"


def market(row: Row) -> dict[str, object]:
    """Return the market under the names that the HTTP API uses."""
    price_yes_e9 = _integer(row, "price_yes_e9")
    return {
        **{name: row[name] for name in _MARKET_AS_IS},
        **{name: iso(row[name]) for name in _MARKET_TIMES},
        "proposed_outcome": outcome_of(row["proposed_outcome"]),
        "final_outcome": outcome_of(row["final_outcome"]),
        "id": row["market_id"],
        "on_chain_address": row["address"],
        "status": row["state"],
        "creator_wallet": row["creator"],
        "liquidity_parameter": row["b_parameter"],
        "total_yes_shares": row["shares_yes"],
        "total_no_shares": row["shares_no"],
        "current_price_yes": price_text(price_yes_e9),
        "current_price_no": price_text(PRICE_ONE - price_yes_e9),
        "updated_slot": row["updated_slot"],
    }


def market_figures(row: Row) -> dict[str, object]:
    """Return the figures of a price display."""
    price_yes_e9 = _integer(row, "price_yes_e9")
    return {
        "priceYes": price_yes_e9 / PRICE_ONE,
        "priceNo": (PRICE_ONE - price_yes_e9) / PRICE_ONE,
        "totalShares": _integer(row, "shares_yes") + _integer(row, "shares_no"),
    }


def trade(row: Row) -> dict[str, object]:
    """Return a trade; `price` is the average price of one share, `price_after` the YES price after it."""
    shares, cost = _integer(row, "shares"), _integer(row, "cost_lamports")
    identity = f"{row['signature']}:{row['ordinal']}"
    return {
        "tradeId": identity,
        "id": identity,
        "market_id": row["market_id"],
        "trade_type": row["side"],
        "outcome": str(row["outcome"]).upper(),
        "shares": shares,
        "cost": cost,
        "price": price_text(cost * PRICE_ONE // shares if shares else 0),
        "price_after": price_text(_integer(row, "price_yes_after_e9")),
        "user_wallet": row["wallet"],
        "trader": row["wallet"],
        "user": row["wallet"],
        "tx_signature": row["signature"],
        "slot": row["slot"],
        "created_at": iso(row["traded_at"]),
    }


def vote(row: Row) -> dict[str, object]:
    """Return a vote, cast here or on chain; `tally` counts all of that kind in the market when it was cast."""
    on_chain = "voted_at" in row
    return {
        "vote_type": row["kind"],
        "vote": row["choice"] == CHOICES[True],
        "choice": _CHOICES[str(row["kind"]), str(row["choice"])],
        "user_wallet": row["wallet"],
        "source": "onchain" if on_chain else "offchain",
        "created_at": iso(row["voted_at"] if on_chain else row["created_at"]),
        "tally": row.get("tally"),
    }


def comment(row: Row) -> dict[str, object]:
    """Return a comment; a deleted one has no content."""
    deleted_at = iso(row["deleted_at"])
    return {
        "id": row["id"],
        "market_id": row["market_id"],
        "user_wallet": row["wallet"],
        "content": None if deleted_at else row["content"],
        "parent_id": row["parent_id"],
        "created_at": iso(row["created_at"]),
        "deleted_at": deleted_at,
    }


def _integer(row: Row, name: str) -> int:
    value = row[name]
    assert isinstance(value, int), name
    return value
