"""Read the token of an Authorization header."""

from __future__ import annotations


def bearer_token(header: str) -> str | None:
    """Return the token after the scheme Bearer, in any case (RFC 9110, 11.1), or None for another scheme."""
    scheme, _, rest = header.partition(" ")
    return rest.lstrip(" ") if scheme.lower() == "bearer" else None


def credentials(header: str) -> str:
    """Return the token after the scheme Bearer, or the whole text if it has another scheme or none."""
    token = bearer_token(header)
    return header if token is None else token
