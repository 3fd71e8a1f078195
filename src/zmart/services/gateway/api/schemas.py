"""The rules of what clients send, as far as a schema can say them. The handlers check again, after trimming."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from zmart.market.identifiers import CID_V0_FORM

_INK = r"[^\s\u001c-\u001f\u0085]"
"""What is no white space, neither to Python nor to ECMAScript."""


def text(shortest: int, longest: int) -> Meta:
    """So many characters once white space around them is gone; none of them NUL."""
    pattern = rf"^[^\u0000]*{_INK}[^\u0000]*$" if shortest else r"^[^\u0000]*$"
    return Meta(extra_json_schema={"minLength": shortest, "maxLength": longest, "pattern": pattern})


def _ref(name: str) -> Meta:
    return Meta(extra_json_schema={"$ref": f"#/components/schemas/{name}"})


MarketKeyText = Annotated[str, _ref("MarketKey")]
WalletText = Annotated[str, _ref("Wallet")]
CommentId = Annotated[str, Meta(extra_json_schema={"format": "uuid"})]
Cid = Annotated[str, Meta(extra_json_schema={"pattern": f"^{CID_V0_FORM}$", "description": "A CIDv0."})]
Evidence = Annotated[str, text(1, 20_000)]
Note = Annotated[str, text(1, 1_000)]
Content = Annotated[str, text(1, 1000)]
Outcome = Annotated[
    str, Meta(extra_json_schema={"enum": ["YES", "NO", "yes", "no", "true", "false", "1", "0"]})
]
Question = Annotated[
    str,
    Meta(extra_json_schema={"minLength": 10, "maxLength": 200, "pattern": r"^\S[^\u0000]{8,198}\S$"}),
]
EndDate = Annotated[str, Meta(extra_json_schema={"format": "end-date", "description": "ISO 8601."})]
EndDateMs = Annotated[int, Meta(extra_json_schema={"minimum": 4_102_444_800_000, "maximum": 10**14})]
Amount = Annotated[int, Meta(gt=0, le=2**63 - 1)]
AmountOrNone = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Bps = Annotated[int, Meta(ge=0, le=10_000)]
DisplayName = Annotated[str, text(0, 50)]
Bio = Annotated[str, text(0, 500)]
HttpsUrl = Annotated[
    str,
    Meta(
        extra_json_schema={"maxLength": 500, "pattern": r"^(https://[!-~]+)?$", "description": "https only."}
    ),
]
Handle = Annotated[str, Meta(extra_json_schema={"maxLength": 16, "pattern": "^(@?[A-Za-z0-9_]+)?$"})]
Description = Annotated[str, text(0, 2000)]
Category = Annotated[str, text(1, 50)]
Tag = Annotated[str, text(1, 30)]
Tags = Annotated[list[Tag], Meta(extra_json_schema={"maxItems": 10})]
SignInText = Annotated[str, text(1, 2000)]
SignatureText = Annotated[str, text(1, 200)]
Base64 = Annotated[str, Meta(extra_json_schema={"minLength": 4, "contentEncoding": "base64"})]
Choice = Annotated[
    str, Meta(extra_json_schema={"enum": ["like", "dislike", "agree", "disagree", "support", "reject"]})
]
