"""Whose vote statement a body carries; only to know whose limit it counts against."""

from __future__ import annotations

import msgspec

from zmart.market.types import Wallet
from zmart.proofs.signatures import signed_text


class _StatementBody(msgspec.Struct, frozen=True):
    statement: str = ""
    signature: str = ""
    wallet: str = ""
    user: str = ""


def signer_of(body: bytes) -> Wallet | None:
    """The wallet whose signature over `statement` holds; None for every other body."""
    if b'"statement"' not in body:
        return None
    try:
        found = msgspec.json.decode(body, type=_StatementBody)
    except (msgspec.MsgspecError, RecursionError):
        return None
    wallet = Wallet(found.wallet or found.user)
    return wallet if signed_text(wallet, found.statement, found.signature) else None
