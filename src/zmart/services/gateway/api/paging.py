"""Parse limits, offsets and cursors of lists. A cursor is opaque to clients. Except with OffsetKey it names the last
row of a page, so rows that are added do not shift the next page."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, TypeVar
from uuid import UUID

import msgspec
from litestar.params import QueryParameter

from zmart.errors import Invalid
from zmart.market.identifiers import ADDRESS_FORM, MARKET_ID_FORM
from zmart.market.json_input import JSON_ERRORS
from zmart.market.times import in_utc
from zmart.services.gateway.api.parameters import between
from zmart.services.gateway.http.invalid_fields import ParameterRule

MAX_LIMIT = 200
MAX_OFFSET = 100_000
_MAX_CURSOR_CHARS = 500
_BAD_CURSOR = "This cursor is invalid: start again without it."


def bounded(limit: int) -> int:
    """Return the size of a page: `limit`, but at most MAX_LIMIT."""
    return min(limit, MAX_LIMIT)


def bounded_offset(offset: int) -> int:
    """Return `offset` unchanged. Raises Invalid if it is greater than MAX_OFFSET."""
    if offset > MAX_OFFSET:
        raise Invalid("offset", f"offset goes up to {MAX_OFFSET}: use next_cursor to read on.")
    return offset


def _check_offset(_: str, text: str) -> None:
    bounded_offset(msgspec.convert(text, int, strict=False))  # "0.0" is an integer, too


def _check_cursor(_: str, text: str) -> None:
    if text:
        _decoded(text)


Limit = Annotated[int, between(0, description="0 to 200; more is taken as 200")]
Offset = Annotated[
    int,
    QueryParameter(
        ge=0,
        description="rows to skip; `cursor` is better",
        schema_extra={"minimum": 0, "maximum": MAX_OFFSET},  # beyond it bounded_offset raises Invalid
    ),
    ParameterRule(_check_offset),
]
Cursor = Annotated[
    str | None,
    QueryParameter(description="`next_cursor` of the page before", schema_extra={"format": "cursor"}),
    ParameterRule(_check_cursor),
]

Kind = TypeVar("Kind", bound=msgspec.Struct)
Row = TypeVar("Row")


class TapeKey(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The key in cursors of trades: the position of a trade on chain."""

    slot: Annotated[int, msgspec.Meta(ge=0, lt=2**62)]
    index_in_block: Annotated[int, msgspec.Meta(ge=0, lt=2**31)]
    ordinal: Annotated[int, msgspec.Meta(ge=0, lt=2**31)]

    @property
    def position(self) -> tuple[int, int, int]:
        """Return slot, index in the block and ordinal in the transaction."""
        return self.slot, self.index_in_block, self.ordinal


class MarketKey(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The key in cursors of markets: the value by which the list is sorted, and the id of a market."""

    value: Annotated[int, msgspec.Meta(ge=0)] | Annotated[str, msgspec.Meta(max_length=40)]
    market_id: Annotated[str, msgspec.Meta(pattern=rf"^{MARKET_ID_FORM}\Z")]


class OffsetKey(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The key in cursors of lists that page by offset: trending markets and timelines."""

    offset: Annotated[int, msgspec.Meta(ge=0, le=MAX_OFFSET)]


class FeedKey(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The key in cursors of messages: an epoch of the change feed, and the offset of a change in it."""

    epoch: Annotated[str, msgspec.Meta(max_length=40)]
    offset: Annotated[int, msgspec.Meta(ge=0, lt=2**62)]


class TimeKey(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The key in cursors of comments: when a comment was created, and its id."""

    moment: datetime
    id: UUID

    def __post_init__(self) -> None:
        in_utc(self.moment)


class VoteKey(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The key in cursors of votes: when a vote was cast, and the wallet that cast it."""

    moment: datetime
    wallet: Annotated[str, msgspec.Meta(pattern=rf"^{ADDRESS_FORM}\Z")]

    def __post_init__(self) -> None:
        in_utc(self.moment)


def cursor_of(key: msgspec.Struct) -> str:
    """Return the text of the cursor that holds `key`, from which the next page begins."""
    return base64.urlsafe_b64encode(msgspec.json.encode(key)).decode().rstrip("=")


def cursor_at(offset: int) -> str | None:
    """Return the cursor of a page that begins at `offset`; None beyond MAX_OFFSET, where such a list ends."""
    return cursor_of(OffsetKey(offset)) if offset <= MAX_OFFSET else None


def key_of(cursor: str | None, kind: type[Kind]) -> Kind | None:
    """Return the key, a struct of `kind`, that a cursor holds; None without a cursor. Raises Invalid for a cursor that
    holds no such key."""
    if not cursor:
        return None
    try:
        return msgspec.convert(_decoded(cursor), kind)
    except msgspec.ValidationError:
        raise Invalid("cursor", _BAD_CURSOR) from None


def _decoded(cursor: str) -> object:
    try:
        if len(cursor) > _MAX_CURSOR_CHARS:
            raise ValueError
        raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        value: list[object] = msgspec.json.decode(raw, type=list)
    except (*JSON_ERRORS, ValueError):
        raise Invalid("cursor", _BAD_CURSOR) from None
    return value


def split_page(rows: Sequence[Row], limit: int) -> tuple[Sequence[Row], bool]:
    """Return the rows of a page, and whether another page follows. `rows` must have been requested with one row more
    than `limit`."""
    return rows[:limit], len(rows) > limit
