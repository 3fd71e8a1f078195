"""Parse ids, addresses, states and times in requests, and find the markets that they name. An invalid id or address is
404 in a path and 400 in a body."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, TypeVar
from uuid import UUID

from litestar.params import QueryParameter

from zmart.chain.signatures import is_signature
from zmart.errors import Invalid, NotFound
from zmart.market.encodings import describe
from zmart.market.identifiers import MarketRef, is_address, parse_market
from zmart.market.integers import parse_decimal
from zmart.market.times import parse_iso
from zmart.market.types import MarketId, MarketState, Signature, Wallet
from zmart.services.gateway.context import AppContext
from zmart.services.gateway.http.invalid_fields import ParameterRule
from zmart.store import markets
from zmart.store.markets import MarketRow

Value = TypeVar("Value")
_STATES = ("", *MarketState.__members__, "DRAFT", *"0123456")


def market_in_path(text: str) -> MarketRef:
    """Parse a market's id or address in a path. Raises NotFound if it is neither."""
    ref = parse_market(text)
    if ref is None:
        raise NotFound(
            f"There is no market {text[:70]}: name it by its id (64 hex characters) or its address."
        )
    return ref


def market_in_body(text: str, field: str = "market_id") -> MarketRef:
    """Parse a market's id or address in a body. Raises Invalid, for `field`, if it is neither."""
    ref = parse_market(text)
    if ref is None:
        raise Invalid(field, f"{field} must be a market's id (64 hex characters) or its address.")
    return ref


def one_market(context: AppContext, named: Mapping[str, MarketRef]) -> MarketRef:
    """Return the market that every field names; `named` holds the markets by the names of the fields. Raises Invalid if
    they differ."""
    of_id = context.program.addresses.market
    if len({ref.address or of_id(MarketId(str(ref))) for ref in named.values()}) > 1:
        raise Invalid(list(named)[-1], f"{' and '.join(named)} name different markets.")
    return next(iter(named.values()))


def wallet_in_path(text: str) -> Wallet:
    """Parse a wallet's address in a path. Raises NotFound if it is not base58 of 32 bytes."""
    if not is_address(text):
        raise NotFound(f"There is no such wallet: it must be base58 of 32 bytes, this is {describe(text)}.")
    return Wallet(text)


def wallet_in_body(text: str, field: str = "wallet") -> Wallet:
    """Parse a wallet's address in a body. Raises Invalid, for `field`, if it is not base58 of 32 bytes."""
    if not is_address(text):
        raise Invalid(field, f"{field} must be base58 of 32 bytes, this is {describe(text)}.")
    return Wallet(text)


def signature_in_path(text: str) -> Signature:
    """Parse a transaction's signature in a path. Raises NotFound if it is not base58 of 64 bytes."""
    if not is_signature(text):
        raise NotFound(
            f"There is no such transaction: a signature is base58 of 64 bytes, this is {describe(text)}."
        )
    return Signature(text)


def comment_in_path(text: str) -> UUID:
    """Parse a comment's id in a path. Raises NotFound if it is not a UUID."""
    try:
        return UUID(text)
    except ValueError:
        raise NotFound("There is no such comment.") from None


async def market_of(context: AppContext, ref: MarketRef) -> MarketRow:
    """Return the row of the market that `ref` names. Raises NotFound if the market is not indexed."""
    return required(await markets.one(context.pool, ref), ref)


async def market_id_of(context: AppContext, ref: MarketRef) -> MarketId:
    """Return the id of the market that `ref` names. Raises NotFound if the market is not indexed."""
    return required(await markets.id_of(context.pool, ref), ref)


def required(value: Value | None, ref: MarketRef) -> Value:
    """Return `value`, which was read for the market `ref`. Raises NotFound if it is None: the market is then not
    indexed."""
    if value is None:
        raise NotFound(f"There is no market {ref}: it does not exist, or is not indexed yet.")
    return value


def state_of(text: str) -> str:
    """Return the name of a market state, given by its name in upper or lower case, or by its number on chain (0 to 6).
    DRAFT is accepted, too. Raises Invalid for any other text."""
    name = text.upper()
    number = parse_decimal(text)
    if number is not None and number < len(MarketState):
        return MarketState(number).name
    if name not in MarketState.__members__ and name != "DRAFT":
        raise Invalid("state", f"state is one of {', '.join(MarketState.__members__)} or their number 0-6.")
    return name


def _check_state(_: str, text: str) -> None:
    if text:
        state_of(text)


StateInQuery = Annotated[
    str | None,
    QueryParameter(name="state", enum=_STATES, description="a name, or its number on chain"),
    ParameterRule(_check_state),
]


def moment(field: str, text: str | None, default: datetime) -> datetime:
    """Parse the time `text` as `moment_of` does; return `default` if `text` is None. Raises Invalid, for `field`."""
    return default if text is None else moment_of(field, text)


def moment_of(field: str, text: str) -> datetime:
    """Parse a time: ISO 8601 (UTC by default) or milliseconds since 1970. Raises Invalid, for `field`, for another
    text."""
    try:
        ms = parse_decimal(text)
        return parse_iso(text) if ms is None else datetime.fromtimestamp(ms / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        raise Invalid(field, f"{field} must be an ISO 8601 time or milliseconds since 1970.") from None
