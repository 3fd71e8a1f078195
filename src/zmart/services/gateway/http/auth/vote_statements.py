"""Read which wallet signed the vote statement in a body. A vote with a valid statement falls under another rate limit
than one without a proof."""

from __future__ import annotations

import msgspec

from zmart.errors import Unauthenticated
from zmart.market.json_input import JSON_ERRORS
from zmart.market.types import Wallet
from zmart.proofs.signatures import require_signature


class _StatementBody(msgspec.Struct, frozen=True):
    statement: str = ""
    signature: str = ""
    wallet: str = ""
    user: str = ""


def signer_of(body: bytes) -> Wallet | None:
    """Return the wallet that the body names, if its signature over `statement` is valid; None for every other body."""
    if b'"statement"' not in body:
        return None
    try:
        parsed = msgspec.json.decode(body, type=_StatementBody)
    except JSON_ERRORS:
        return None
    wallet = Wallet(parsed.wallet or parsed.user)
    try:
        require_signature(wallet, parsed.statement, parsed.signature)
    except Unauthenticated:
        return None
    return wallet
