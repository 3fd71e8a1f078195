"""Read what an Authorization header proves itself with."""

from __future__ import annotations


def credentials(header: str) -> str:
    """Return what follows the scheme Bearer, whose case does not matter (RFC 9110, 11.1); the whole text without it."""
    scheme, space, rest = header.partition(" ")
    return rest.lstrip(" ") if space and scheme.lower() == "bearer" else header
