"""Read what an Authorization header proves itself with."""

from __future__ import annotations


def bearer_token(header: str) -> str | None:
    """Return what follows the scheme Bearer, whose case does not matter (RFC 9110, 11.1); None for another scheme."""
    scheme, _, rest = header.partition(" ")
    return rest.lstrip(" ") if scheme.lower() == "bearer" else None


def credentials(header: str) -> str:
    """Return the token, or the whole text where the scheme is not Bearer."""
    token = bearer_token(header)
    return header if token is None else token
