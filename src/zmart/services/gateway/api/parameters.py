"""The parameters of operations: what is validated of them and what is published."""

from __future__ import annotations

from typing import Annotated, Any

from litestar.openapi.spec import Example
from litestar.params import PathParameter, QueryParameter

from zmart.market.identifiers import ADDRESS_FORM, MARKET_ID_FORM, SIGNATURE_FORM
from zmart.services.gateway.openapi.declarations import A_COMMENT, A_MARKET, A_SIGNATURE, A_WALLET


def _form(title: str, form: str, pattern: str, sample: str, **about: str) -> dict[str, Any]:
    """Published only: what has another form is 404, or 400 in words (lookup.py)."""
    extra = {"format": form, "pattern": f"^{pattern}$"}
    return {"title": title, "schema_extra": extra, "examples": [Example(value=sample)], **about}


def between(least: int, most: int | None = None, description: str | None = None) -> QueryParameter:
    """Annotate an integer of the query with its bounds."""
    bounds = {"minimum": least} if most is None else {"minimum": least, "maximum": most}
    return QueryParameter(ge=least, le=most, description=description, schema_extra=bounds)


_KEY = f"({MARKET_ID_FORM}|{ADDRESS_FORM})"
_MARKET = _form(
    "MarketKey", "market-key", _KEY, A_MARKET, description="a market's id in hex, or its address on chain"
)
_WALLET = _form("Wallet", "address", ADDRESS_FORM, A_WALLET)
_SIGNATURE = _form("Signature", "signature", SIGNATURE_FORM, A_SIGNATURE)
_COMMENT = "[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"

MarketKeyInPath = Annotated[str, PathParameter(**_MARKET)]
MaybeMarketKey = Annotated[
    str | None, QueryParameter(**_form("MarketKey", "market-key", f"{_KEY}?", A_MARKET))
]
WalletInPath = Annotated[str, PathParameter(**_WALLET)]
WalletInQuery = Annotated[str, QueryParameter(**_WALLET)]
MaybeWallet = Annotated[
    str | None, QueryParameter(**_form("Wallet", "address", f"({ADDRESS_FORM})?", A_WALLET))
]
SignatureInPath = Annotated[str, PathParameter(**_SIGNATURE)]
CommentInPath = Annotated[str, PathParameter(**_form("CommentId", "uuid", _COMMENT, A_COMMENT))]
MaybeMoment = Annotated[
    str | None,
    QueryParameter(description="ISO 8601, or milliseconds since 1970", schema_extra={"format": "moment"}),
]
