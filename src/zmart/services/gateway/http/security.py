"""Name the proofs of a sender's identity that an operation accepts, for its decorator. Other proofs in a request are
ignored (http/request_auth.py)."""

from __future__ import annotations

from functools import cache

from litestar.handlers import BaseRouteHandler, HTTPRouteHandler
from litestar.openapi.spec import Reference, SecurityRequirement, SecurityScheme

SESSION, SIGNATURE, OPERATOR_TOKEN = "session", "signature", "operator"  # names, not secrets

SIGNED_IN: list[SecurityRequirement] = [{SESSION: []}]
WALLET: list[SecurityRequirement] = [{SESSION: []}, {SIGNATURE: []}]
OPERATOR: list[SecurityRequirement] = [{OPERATOR_TOKEN: []}, *WALLET]
"""For operations of the operator: the operator's token, or a proof of the program's admin wallet."""
PUBLIC_OR_WALLET: list[SecurityRequirement] = [{}, *WALLET]
"""For public operations that use a wallet's proof if there is one: it shows the wallet's drafts, or stands for a vote's
statement if VOTES_REQUIRE_STATEMENT is off."""

SCHEMES: dict[str, SecurityScheme | Reference] = {
    SESSION: SecurityScheme(type="http", scheme="bearer", description="A token of POST /api/auth/verify."),
    OPERATOR_TOKEN: SecurityScheme(type="http", scheme="bearer", description="OPERATOR_TOKEN."),
    SIGNATURE: SecurityScheme(
        type="apiKey",
        name="Authorization",
        security_scheme_in="header",
        description="`Signature message=...&signature=...&wallet=...`: a request of an older client, signed by its "
        "wallet; the same three may stand in the body.",
    ),
}


@cache
def accepted_proofs(handler: BaseRouteHandler) -> frozenset[str]:
    """Return the names of the proofs that the handler's decorator accepts."""
    security = handler.resolve_security() if isinstance(handler, HTTPRouteHandler) else []
    return frozenset(name for option in security for name in option)
