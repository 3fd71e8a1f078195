"""Authenticate webhook deliveries.

Helius sends the authHeader of the registration as the Authorization header of each delivery.
"""

from __future__ import annotations

import hashlib
import hmac

from zmart.bearer import credentials


def authorization_matches(header: str | None, secret: str) -> bool:
    """Return whether the Authorization header holds the secret, compared in constant time.

    The scheme Bearer is ignored in both. An empty secret matches nothing.
    """
    given, expected = credentials(header or ""), credentials(secret)
    if not expected:
        return False
    return hmac.compare_digest(given.encode(errors="replace"), expected.encode())


def hmac_matches(signature_header: str | None, secret: str, body: bytes) -> bool:
    """Return whether `x-helius-signature` is the HMAC-SHA256 of the raw body, in hex.

    The prefix `sha256=` is optional. An empty header or secret matches nothing.
    """
    if not signature_header or not secret:
        return False
    given = signature_header.removeprefix("sha256=").lower()
    expected = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    return hmac.compare_digest(given.encode(errors="replace"), expected.encode())
