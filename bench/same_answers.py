"""Before any load: all subjects answer the same, and it is what the database holds. Else a comparison means nothing."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence, Set
from typing import Any

import asyncpg
import right_rows
from comparison import BARE, GATEWAY
from subjects import Servers, Subject, get

from zmart.errors import ZmartError

_OF_EACH_KIND = 20
_OPAQUE = {"next_cursor"}
_GATEWAY_ALONE = {"vote_rules", "dispute_review"}
"""What the peers leave out of one market: the gateway does that work in addition."""


async def check(
    connection: asyncpg.Connection, servers: Servers, paths: Mapping[str, Sequence[str]]
) -> list[str]:
    """Compare some answers of each kind; what the peers leave out, as notes. Raises ZmartError on a difference."""
    left_out: set[str] = set()
    compared = [
        each for cached in (False, True) for each in servers.subjects(cached=cached) if each.name != BARE
    ]
    for kind in paths.values():
        for path in kind[:_OF_EACH_KIND]:
            left_out |= await _check_path(connection, compared, path)
    return [f"the peers' answers lack {', '.join(sorted(left_out))}"] if left_out else []


async def _check_path(connection: asyncpg.Connection, compared: Sequence[Subject], path: str) -> set[str]:
    rows = await right_rows.in_database(connection, path)
    bodies = {subject: get(subject.url(path)) for subject in compared}
    reference: dict[str, Any] = json.loads(bodies[compared[0]])
    left_out: set[str] = set()
    for subject, body in bodies.items():
        wrong = right_rows.problem(right_rows.in_answer(body), rows, rows)
        if wrong is not None:
            raise ZmartError(f"{subject.name} answers {path} wrongly without any load: {wrong}")
        answer = json.loads(body)
        missing = reference.keys() - answer.keys() if subject.name != GATEWAY else set()
        different = difference(reference, answer, _OPAQUE | (missing & _GATEWAY_ALONE))
        if different is not None:
            raise ZmartError(f"{compared[0].name} and {subject.name} differ at {path}: {different}")
        left_out |= missing & _GATEWAY_ALONE
    return left_out


def difference(one: object, other: object, ignored: Set[str] = frozenset(), at: str = "") -> str | None:
    """The first place where two JSON values differ, with both values; None when they are the same."""
    if isinstance(one, dict) and isinstance(other, dict):
        for key in sorted({*one, *other} - ignored):
            if (found := difference(one.get(key), other.get(key), at=f"{at}.{key}")) is not None:
                return found
        return None
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        places = enumerate(zip(one, other, strict=True))
        found_in = (difference(a, b, at=f"{at}[{place}]") for place, (a, b) in places)
        return next((found for found in found_in if found is not None), None)
    return None if one == other else f"{at.lstrip('.')} is {one!r} and {other!r}"
