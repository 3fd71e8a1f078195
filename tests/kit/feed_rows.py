"""Rows of published tables as the change feed holds them: JSON objects made by PostgreSQL."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from zmart.market.columns import MarketColumns, TradeColumns

MARKET, WALLET, AT = "ab" * 32, "W" * 44, "2026-01-02T05:04:05.678901+02:00"
_AT = datetime.fromisoformat(AT)


def market_row(**fields: object) -> dict[str, Any]:
    """Return the row of an ACTIVE market; `fields` replaces columns."""
    row: MarketColumns[str, str, datetime] = MarketColumns(
        market_id=MARKET, address="A" * 44, creator="C" * 44, state="ACTIVE", b_parameter=10**9, initial_liquidity=5,
        current_liquidity=2**64 - 1, shares_yes=700, shares_no=300, price_yes_e9=625_000_000, total_volume=9,
        trades_count=2, traders=1, proposal_likes=7, proposal_dislikes=3, created_at=_AT, created_slot=1,
        updated_slot=77,
    )  # fmt: skip
    return {**msgspec.to_builtins(row), "created_at": AT, **fields}


def trade_row(**fields: object) -> dict[str, Any]:
    """Return the row of a purchase of NO; `fields` replaces columns."""
    row: TradeColumns[str, str, datetime] = TradeColumns(
        signature="S" * 88, ordinal=1, market_id=MARKET, wallet=WALLET, side="buy", outcome="no", shares=3_000,
        cost_lamports=1_000, protocol_fee_lamports=3, resolver_fee_lamports=2, lp_fee_lamports=5,
        price_yes_after_e9=1, slot=5, index_in_block=0, traded_at=_AT,
    )  # fmt: skip
    return {**msgspec.to_builtins(row), "traded_at": AT, **fields}


def comment_row(**fields: object) -> dict[str, Any]:
    """Return the row of a comment; `fields` replaces columns."""
    return {
        "id": "7b0b3d0e-0000-4000-8000-000000000000", "market_id": MARKET, "wallet": WALLET,
        "content": 'Ünïcode "x"', "parent_id": None, "created_at": AT, "deleted_at": None, **fields,
    }  # fmt: skip
