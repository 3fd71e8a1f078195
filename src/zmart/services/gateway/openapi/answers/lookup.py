"""Look up the example of an answer by its type."""

from __future__ import annotations

import msgspec

from zmart.services.gateway.openapi.answers import markets, people, system

_BY_KIND = {type(answer): answer for answer in (*markets.ANSWERS, *people.ANSWERS, *system.ANSWERS)}


def example_of(kind: type, *, in_list: bool) -> object:
    """Return the example of an answer of this struct type, or of a list of it, as JSON values; None without one."""
    if (example := _BY_KIND.get(kind)) is None:
        return None
    value = msgspec.to_builtins(example)
    return [value] if in_list else value
