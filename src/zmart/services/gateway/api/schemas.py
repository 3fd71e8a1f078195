"""Define the types of fields in request bodies. Each rule is stated once, in the annotation: it is published, and
checked before a handler sees the body."""

from __future__ import annotations

import re
from enum import Enum
from functools import partial
from typing import Annotated

from msgspec import Meta

from zmart.errors import Invalid
from zmart.market import text_input
from zmart.market.identifiers import CID_V0_FORM
from zmart.proofs import market_document as rules
from zmart.services.gateway.api import lookup
from zmart.services.request_body import Rule, rule_of


class Outcome(Enum):
    """A side of a market, in upper or lower case. Older clients write true or false, 1 or 0, instead of YES or NO."""

    YES = "YES"
    NO = "NO"

    @classmethod
    def _missing_(cls, value: object) -> Outcome | None:
        word = str(value).lower()
        return cls.YES if word in ("yes", "true", "1") else cls.NO if word in ("no", "false", "0") else None


class Choice(Enum):
    """The choice of a vote: like or dislike for a proposal, agree or disagree for a dispute, support or reject for
    both."""

    LIKE = "like"
    DISLIKE = "dislike"
    AGREE = "agree"
    DISAGREE = "disagree"
    SUPPORT = "support"
    REJECT = "reject"

    @classmethod
    def _missing_(cls, value: object) -> Choice | None:
        word = str(value).strip().lower()
        return next((choice for choice in cls if choice.value == word), None)


def text(shortest: int, longest: int, *, lower: bool = False, one_line: bool = False) -> Meta:
    """Return the annotation of a text by the least and the greatest number of its characters, without the white space
    around it (market/text_input.py). `lower`: it is changed to lower case. `one_line`: tabs and line ends become
    spaces."""
    schema = {
        "minLength": shortest,
        "maxLength": longest,
        "pattern": text_input.pattern_of(shortest),
    }
    rule = partial(_accepted, chars=(shortest, longest), lower=lower, one_line=one_line)
    return Meta(extra_json_schema=schema, extra={"rule": rule})


def _accepted(field: str, value: str, *, chars: tuple[int, int], lower: bool, one_line: bool) -> str:
    accepted = text_input.accept_text(field, value, chars, one_line=one_line)
    return text_input.nfc(accepted.lower()) if lower else accepted


def form(pattern: str, longest: int, sentence: str) -> Meta:
    """Return the annotation of a text of at most `longest` characters that matches `pattern`. The error message is the
    field's name, "must be" and `sentence`."""
    schema = {"maxLength": longest, "pattern": f"^({pattern})$", "description": sentence}
    return Meta(
        extra_json_schema=schema, extra={"rule": partial(_of_form, re.compile(pattern), sentence, longest)}
    )


def _of_form(pattern: re.Pattern[str], sentence: str, longest: int, field: str, value: str) -> str:
    trimmed = text_input.accept_text(field, value, (0, longest))
    if not pattern.fullmatch(trimmed):
        raise Invalid(field, f"{field} must be {sentence}.")
    return trimmed


def _tags(field: str, values: list[str]) -> list[str]:
    if len(values) > rules.TAGS_MAX:
        raise Invalid(field, f"A market has at most {rules.TAGS_MAX} tags.")
    rule = rule_of(Tag)
    assert rule is not None
    return list(dict.fromkeys(rule(field, value) for value in values))


def _market_key(field: str, value: str) -> str:
    return str(lookup.market_in_body(value, field))


def _wallet(field: str, value: str) -> str:
    return lookup.wallet_in_body(value, field)


def _if_named(rule: Rule, field: str, value: str) -> str | None:
    """Apply `rule` to an optional field. Return None for an empty text, which older clients send instead of omitting a
    field."""
    return rule(field, value) if value else None


def _moment(field: str, value: str | int) -> str | int:
    lookup.moment_of(field, str(value))
    return value


MarketKeyText = Annotated[str, Meta(title="MarketKey", extra={"rule": _market_key})]
WalletText = Annotated[str, Meta(title="Wallet", extra={"rule": _wallet})]
MaybeMarketKey = (
    Annotated[str, Meta(title="MarketKey", extra={"rule": partial(_if_named, _market_key)})] | None
)
MaybeWallet = Annotated[str, Meta(title="Wallet", extra={"rule": partial(_if_named, _wallet)})] | None
Cid = Annotated[str, form(CID_V0_FORM, 46, "a CIDv0: 46 characters, Qm...")]
Evidence = Annotated[str, text(1, 20_000)]
Note = Annotated[str, text(1, 1_000)]
Content = Annotated[str, text(1, 1000)]
Question = Annotated[str, text(*rules.QUESTION_CHARS, one_line=True)]
Description = Annotated[str, text(*rules.DESCRIPTION_CHARS)]
Category = Annotated[str, text(*rules.CATEGORY_CHARS, lower=True, one_line=True)]
Tag = Annotated[str, text(*rules.TAG_CHARS, lower=True, one_line=True)]
Tags = Annotated[list[Tag], Meta(extra_json_schema={"maxItems": rules.TAGS_MAX}, extra={"rule": _tags})]
EndDate = Annotated[
    str,
    Meta(
        extra_json_schema={"format": "end-date", "description": "ISO 8601."},
        extra={"rule": _moment},
    ),
]
EndDateMs = Annotated[
    int,
    Meta(extra_json_schema={"minimum": 0, "maximum": 10**14, "description": "Milliseconds since 1970."}),
]
Amount = Annotated[int, Meta(gt=0, le=2**63 - 1)]
AmountOrNone = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Bps = Annotated[int, Meta(ge=0, le=10_000)]
DisplayName = Annotated[str, text(0, 50, one_line=True)]
Bio = Annotated[str, text(0, 500)]
HttpsUrl = Annotated[str, form("(https://[!-~]+)?", 500, "an address that begins with https://")]
Handle = Annotated[str, form("(@?[A-Za-z0-9_]+)?", 16, "letters, digits and _")]
SignInText = Annotated[str, text(1, 2000)]
SignatureText = Annotated[str, Meta(description="64 bytes in base58, base64 or hex."), text(1, 200)]
Base64 = Annotated[str, Meta(extra_json_schema={"minLength": 4, "contentEncoding": "base64"})]
