"""Define the parameters that several operations take. A parameter's title names the schema that describes its values
(openapi/shapes.py). An invalid value is answered with 404 or 400 and a message (lookup.py)."""

from __future__ import annotations

from typing import Annotated

from litestar.params import PathParameter, QueryParameter

from zmart.services.gateway.api.lookup import moment_of
from zmart.services.gateway.http.invalid_fields import ParameterRule

MarketKeyInPath = Annotated[str, PathParameter(title="MarketKey")]
MaybeMarketKey = Annotated[str | None, QueryParameter(title="MarketKey")]
WalletInPath = Annotated[str, PathParameter(title="Wallet")]
WalletInQuery = Annotated[str, QueryParameter(title="Wallet")]
MaybeWallet = Annotated[str | None, QueryParameter(title="Wallet")]
SignatureInPath = Annotated[str, PathParameter(title="Signature")]
CommentInPath = Annotated[str, PathParameter(title="CommentId")]
MaybeMoment = Annotated[
    str | None,
    QueryParameter(description="ISO 8601, or milliseconds since 1970", schema_extra={"format": "moment"}),
    ParameterRule(moment_of),
]


def between(least: int, most: int | None = None, description: str | None = None) -> QueryParameter:
    """Return the annotation of an integer in the query, from `least` to `most`, both inclusive; without an upper bound
    if `most` is None."""
    bounds = {"minimum": least} if most is None else {"minimum": least, "maximum": most}
    return QueryParameter(ge=least, le=most, description=description, schema_extra=bounds)
