"""From what a client names to what the store knows; one rule for reads (404) and one for bodies (400)."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TypeVar
from uuid import UUID

from zmart.chain.addresses import is_address
from zmart.chain.signatures import is_signature
from zmart.errors import Invalid, NotFound
from zmart.market.times import parse_iso
from zmart.market.types import MarketId, MarketState, Signature, Wallet
from zmart.services.gateway.context import AppContext
from zmart.store import markets
from zmart.store.markets import MarketRow

Found = TypeVar("Found")
_MARKET_ID = re.compile(r"[0-9a-f]{64}")


def is_market_key(text: str) -> bool:
    return _MARKET_ID.fullmatch(text) is not None or is_address(text)


def key_in_path(text: str) -> str:
    """A market's id or address as it stands in a path: NotFound when it can be neither."""
    key = text.lower() if len(text) == 64 else text
    if not is_market_key(key):
        raise NotFound(
            f"There is no market {text[:70]}: name it by its id (64 hex characters) or its address."
        )
    return key


def key_in_body(text: str, field: str = "market_id") -> str:
    """The same in a body: Invalid when it can be neither."""
    key = text.lower() if len(text) == 64 else text
    if not is_market_key(key):
        raise Invalid(field, f"{field} must be a market's id (64 hex characters) or its address.")
    return key


def wallet_in_path(text: str) -> Wallet:
    if not is_address(text):
        raise NotFound("There is no such wallet: it must be the base58 text of 32 bytes.")
    return Wallet(text)


def wallet_in_body(text: str, field: str = "wallet") -> Wallet:
    if not is_address(text):
        raise Invalid(field, f"{field} must be the base58 text of 32 bytes.")
    return Wallet(text)


def signature_in_path(text: str) -> Signature:
    if not is_signature(text):
        raise NotFound("There is no such transaction: a signature is base58 of 64 bytes.")
    return Signature(text)


def comment_in_path(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise NotFound("There is no such comment.") from None


async def market_of(context: AppContext, key: str) -> MarketRow:
    """The market that a valid key names; NotFound when it is not indexed."""
    return known(await markets.one(context.pool, key), key)


async def market_id_of(context: AppContext, key: str) -> MarketId:
    return known(await markets.id_of(context.pool, key), key)


def known(found: Found | None, key: str) -> Found:
    """What was found under a market's key; NotFound when nothing was."""
    if found is None:
        raise NotFound(f"There is no market {key}: it does not exist, or is not indexed yet.")
    return found


def state_of(text: str) -> str:
    """A state by its name or its number on chain."""
    name = text.upper()
    if text.isdigit() and int(text) < len(MarketState):
        return MarketState(int(text)).name
    if name not in MarketState.__members__ and name != "DRAFT":
        raise Invalid("state", f"state is one of {', '.join(MarketState.__members__)} or their number 0-6.")
    return name


def moment(field: str, text: str | None, default: datetime) -> datetime:
    return default if text is None else moment_of(field, text)


def moment_of(field: str, text: str) -> datetime:
    """A time that a client wrote: ISO 8601 (UTC unless it says otherwise) or milliseconds since 1970."""
    try:
        return datetime.fromtimestamp(int(text) / 1000, UTC) if text.isdigit() else parse_iso(text)
    except (ValueError, OverflowError, OSError):
        raise Invalid(field, f"{field} must be an ISO 8601 time or milliseconds since 1970.") from None
