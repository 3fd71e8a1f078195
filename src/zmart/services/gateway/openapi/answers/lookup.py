"""Look up the example of an answer by its type."""

from __future__ import annotations

import msgspec

from zmart.services.gateway.openapi.answers import markets, people, system, transactions, vote_log

_ANSWERS = (
    *markets.ANSWERS,
    *people.ANSWERS,
    *system.ANSWERS,
    *transactions.ANSWERS,
    *vote_log.ANSWERS,
)
_BY_KIND = {type(answer): answer for answer in _ANSWERS}


def example_of(kind: type, *, in_list: bool) -> object:
    """Return the example of an answer of this struct type, or of a list of it, as JSON values; None without one."""
    if (example := _BY_KIND.get(kind)) is None:
        return None
    value = msgspec.json.decode(msgspec.json.encode(example))
    return [value] if in_list else value
