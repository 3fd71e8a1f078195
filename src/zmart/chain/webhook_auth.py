"""Authenticate posts to the webhook: Helius echoes the Authorization header that the registration gave it."""

from __future__ import annotations

import hashlib
import hmac

from zmart.bearer import credentials


def authorization_matches(header: str | None, secret: str) -> bool:
    """Compare the header in constant time; the scheme Bearer of either is left out. An empty secret matches nothing."""
    given, expected = credentials(header or ""), credentials(secret)
    if not expected:
        return False
    return hmac.compare_digest(given.encode(errors="replace"), expected.encode())


def hmac_matches(signature_header: str | None, secret: str, body: bytes) -> bool:
    """Check `x-helius-signature`: hex HMAC-SHA256 of the raw body, optionally prefixed with `sha256=`."""
    if not signature_header or not secret:
        return False
    given = signature_header.removeprefix("sha256=").lower()
    expected = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    return hmac.compare_digest(given.encode(errors="replace"), expected.encode())
