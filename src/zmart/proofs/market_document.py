"""The text of a market as one canonical document: what is pinned, and whose CID stands on chain.

One reader judges both a draft that is about to be pinned and bytes that came from IPFS.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated

import msgspec
from msgspec import Meta

from zmart.errors import Invalid
from zmart.market.identifiers import ADDRESS_FORM, MARKET_ID_FORM
from zmart.market.times import iso
from zmart.market.types import Address, Lamports, MarketId, Shares, Wallet
from zmart.proofs.canonical import Json, canonical_json, parse_canonical

TYPE = "zmart-question"
VERSION = 1
MAX_BYTES = 64 * 1024
"""More than any document that keeps the limits below."""

QUESTION_CHARS = (10, 200)
DESCRIPTION_CHARS = (0, 2_000)
CATEGORY_CHARS = (1, 50)
TAG_CHARS = (1, 30)
TAGS_MAX = 10

_Key = Annotated[str, Meta(pattern=f"^{ADDRESS_FORM}$")]
_U64 = Annotated[int, Meta(ge=0)]


class MarketDocument(msgspec.Struct, frozen=True, kw_only=True):
    """Hold the text of a market. Its creator and its money are on chain only."""

    program: Address
    market_id: MarketId
    creator: Wallet
    question: str
    description: str
    category: str
    tags: Sequence[str]
    ends_at: datetime
    b_parameter: Shares
    initial_liquidity: Lamports


class _Read(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    type: str
    version: int
    program: _Key
    market_id: Annotated[str, Meta(pattern=f"^{MARKET_ID_FORM}$")]
    creator: _Key
    question: str
    description: str
    category: str
    tags: list[str]
    ends_at: Annotated[datetime, Meta(tz=True)]
    b_parameter: _U64
    initial_liquidity: _U64


def compose(document: MarketDocument) -> bytes:
    """The canonical bytes. Raises Invalid for what `read` would refuse."""
    fields: dict[str, Json] = {
        "type": TYPE,
        "version": VERSION,
        "program": document.program,
        "market_id": document.market_id,
        "creator": document.creator,
        "question": document.question,
        "description": document.description,
        "category": document.category,
        "tags": list(document.tags),
        "ends_at": iso(document.ends_at),
        "b_parameter": document.b_parameter,
        "initial_liquidity": document.initial_liquidity,
    }
    raw = canonical_json(fields)
    read(raw)
    return raw


def read(raw: bytes) -> MarketDocument:
    """What a document says. Raises Invalid: it is no market document, and why."""
    if len(raw) > MAX_BYTES:
        raise Invalid("document", f"A market document has {MAX_BYTES} bytes at most.")
    value = parse_canonical(raw)
    if not isinstance(value, Mapping) or value.get("type") != TYPE or value.get("version") != VERSION:
        raise Invalid("document", f"This is not a {TYPE} of version {VERSION}.")
    try:
        parsed = msgspec.convert(value, _Read)
        ends_at = parsed.ends_at.astimezone(UTC)
    except (msgspec.ValidationError, OverflowError) as problem:
        raise Invalid("document", f"The market document cannot be read: {problem}.") from None
    _check(parsed)
    return MarketDocument(
        program=Address(parsed.program),
        market_id=MarketId(parsed.market_id),
        creator=Wallet(parsed.creator),
        question=parsed.question,
        description=parsed.description,
        category=parsed.category,
        tags=parsed.tags,
        ends_at=ends_at,
        b_parameter=Shares(parsed.b_parameter),
        initial_liquidity=Lamports(parsed.initial_liquidity),
    )


def _check(parsed: _Read) -> None:
    _text("question", parsed.question, QUESTION_CHARS)
    _text("description", parsed.description, DESCRIPTION_CHARS)
    _text("category", parsed.category, CATEGORY_CHARS)
    if len(parsed.tags) > TAGS_MAX or len(set(parsed.tags)) != len(parsed.tags):
        raise Invalid("tags", f"A market has at most {TAGS_MAX} tags, none twice.")
    for tag in parsed.tags:
        _text("tags", tag, TAG_CHARS)
    if [text for text in (parsed.category, *parsed.tags) if text != text.lower()]:
        raise Invalid("category", "Category and tags are written in lower case.")


def _text(field: str, text: str, chars: tuple[int, int]) -> None:
    shortest, longest = chars
    if not shortest <= len(text) <= longest or text != text.strip():
        raise Invalid(
            field, f"{field} must have {shortest} to {longest} characters, without space around them."
        )
    if "\0" in text:
        raise Invalid(field, f"{field} holds a character that cannot be stored (NUL).")
