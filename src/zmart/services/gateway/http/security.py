"""Name the proofs of identity that an operation accepts, on its decorator; no others count (http/request_auth.py)."""

from __future__ import annotations

from functools import cache

from litestar.handlers import BaseRouteHandler, HTTPRouteHandler
from litestar.openapi.spec import Reference, SecurityRequirement, SecurityScheme

SESSION, SIGNATURE, OPERATOR_TOKEN = "session", "signature", "operator"  # names, not secrets

SIGNED_IN: list[SecurityRequirement] = [{SESSION: []}]
WALLET: list[SecurityRequirement] = [{SESSION: []}, {SIGNATURE: []}]
OPERATOR: list[SecurityRequirement] = [{OPERATOR_TOKEN: []}, *WALLET]
"""The operator's token, or a proof of the program's admin wallet."""
PUBLIC_OR_WALLET: list[SecurityRequirement] = [{}, *WALLET]
"""Public; with a proof of a wallet the operation does more (drafts), or needs no other proof (votes)."""

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
