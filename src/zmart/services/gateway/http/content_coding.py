"""Choose the coding of a response's content by the header Accept-Encoding (RFC 9110, 12.5.3)."""

from __future__ import annotations

import re

_GZIP = ("gzip", "x-gzip")
_weight = re.compile(r"q=(0(?:\.\d{0,3})?|1(?:\.0{0,3})?)", re.IGNORECASE)


def accepts_gzip(accept_encoding: str) -> bool:
    """Return whether the client accepts gzip: it names it, or `*` without naming it, with a weight above 0. Without the
    header a response is not compressed. `accept_encoding` has the values of all its lines, separated by commas."""
    accepted: dict[str, bool] = {}
    for member in accept_encoding.split(","):
        coding, separator, parameter = member.partition(";")
        name = coding.strip().lower()
        accepted["gzip" if name in _GZIP else name] = not separator or _is_above_0(parameter.strip())
    return accepted.get("gzip", accepted.get("*", False))


def _is_above_0(weight: str) -> bool:
    """Return whether a weight `q=...` is valid and not 0."""
    valid = _weight.fullmatch(weight)
    return valid is not None and float(valid[1]) > 0
