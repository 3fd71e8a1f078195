"""Compose and read the text of a market as one canonical document, which is pinned and whose CID is on chain.

`read` checks both a new document before it is pinned and bytes that came from IPFS.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated

import msgspec
from msgspec import Meta

from zmart.errors import Invalid
from zmart.market.identifiers import ADDRESS_FORM, MARKET_ID_FORM
from zmart.market.text_input import accept_text
from zmart.market.times import iso
from zmart.market.types import Address, Lamports, MarketId, Shares, Wallet
from zmart.proofs.canonical import Json, canonical_json, parse_canonical

TYPE = "zmart-question"
VERSION = 1
MAX_BYTES = 64 * 1024
"""The maximum size of a document, which is more than the limits below allow."""

QUESTION_CHARS = (10, 200)
DESCRIPTION_CHARS = (0, 2_000)
CATEGORY_CHARS = (1, 50)
TAG_CHARS = (1, 30)
TAGS_MAX = 10

_Key = Meta(pattern=f"^{ADDRESS_FORM}$")
_U64 = Meta(ge=0)


class MarketDraft(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The text and the parameters of a market as its creator sent them.

    `b_parameter` is in units of 1e-9 shares, `initial_liquidity` in lamports.
    """

    question: str
    description: str
    category: str
    tags: Sequence[str]
    ends_at: Annotated[datetime, Meta(tz=True)]
    b_parameter: Annotated[Shares, _U64]
    initial_liquidity: Annotated[Lamports, _U64]


class MarketDocument(MarketDraft, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The content of a market's document: the creator's draft, with the program, the market's id and its creator."""

    program: Annotated[Address, _Key]
    market_id: Annotated[MarketId, Meta(pattern=f"^{MARKET_ID_FORM}$")]
    creator: Annotated[Wallet, _Key]


def compose(document: MarketDocument) -> bytes:
    """Return the canonical bytes of a document. Raises Invalid for a document that `read` would refuse."""
    fields: dict[str, Json] = {
        "type": TYPE,
        "version": VERSION,
        **msgspec.structs.asdict(document),
        "tags": list(document.tags),
        "ends_at": iso(document.ends_at),
    }
    raw = canonical_json(fields)
    read(raw)
    return raw


def read(raw: bytes) -> MarketDocument:
    """Return the content of a document's bytes. Raises Invalid, with the reason, if they are no market document."""
    if len(raw) > MAX_BYTES:
        raise Invalid("document", f"A market document has {MAX_BYTES} bytes at most.")
    value = parse_canonical(raw)
    if not isinstance(value, Mapping) or value.get("type") != TYPE or not _is_version(value):
        raise Invalid("document", f"This is not a {TYPE} of version {VERSION}.")
    fields = {name: field for name, field in value.items() if name not in ("type", "version")}
    try:
        parsed = msgspec.convert(fields, MarketDocument)
        ends_at = parsed.ends_at.astimezone(UTC)
    except (msgspec.ValidationError, OverflowError) as problem:
        raise Invalid("document", f"The market document cannot be read: {problem}.") from None
    return msgspec.structs.replace(parsed, ends_at=ends_at, **_accepted_values(parsed))


def _is_version(value: Mapping[str, object]) -> bool:
    version = value.get("version")
    return version == VERSION and version is not True  # in Python True == 1


def _accepted_values(parsed: MarketDraft) -> dict[str, str | list[str]]:
    """Check the texts of a document and return them in the form in which they are displayed. Raises Invalid."""
    question = _accepted("question", parsed.question, QUESTION_CHARS, one_line=True)
    description = _accepted("description", parsed.description, DESCRIPTION_CHARS)
    category = _accepted("category", parsed.category, CATEGORY_CHARS, one_line=True)
    tags = [_accepted("tags", tag, TAG_CHARS, one_line=True) for tag in parsed.tags]
    if len(tags) > TAGS_MAX or len(set(tags)) != len(tags):
        raise Invalid("tags", f"A market has at most {TAGS_MAX} tags, none twice.")
    if [text for text in (category, *tags) if text != text.lower()]:
        raise Invalid("category", "Category and tags are written in lower case.")
    return {"question": question, "description": description, "category": category, "tags": tags}


def _accepted(field: str, text: str, chars: tuple[int, int], *, one_line: bool = False) -> str:
    if text != text.strip():
        raise Invalid(field, f"{field} has white space around it.")
    return accept_text(field, text, chars, one_line=one_line)
