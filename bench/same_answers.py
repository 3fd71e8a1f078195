"""Check before any load that all subjects give the same answers, and that these agree with the database."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence, Set

import asyncpg
import right_rows
from comparison import BARE
from subjects import Servers, Subject, get

from zmart.errors import ZmartError

_OF_EACH_KIND = 20
_OPAQUE = {"next_cursor"}


async def check(connection: asyncpg.Connection, servers: Servers, paths: Mapping[str, Sequence[str]]) -> None:
    """Compare up to 20 answers of each kind, with and without caches. Raises ZmartError with the first difference."""
    compared = [
        each for cached in (False, True) for each in servers.subjects(cached=cached) if each.name != BARE
    ]
    for kind in paths.values():
        for path in kind[:_OF_EACH_KIND]:
            await _check_path(connection, compared, path)


async def _check_path(connection: asyncpg.Connection, compared: Sequence[Subject], path: str) -> None:
    rows = await right_rows.in_database(connection, path)
    bodies = {subject: get(subject.url(path)) for subject in compared}
    reference = json.loads(bodies[compared[0]])
    for subject, body in bodies.items():
        wrong = right_rows.problem(right_rows.in_answer(body), rows, rows)
        if wrong is not None:
            raise ZmartError(f"{subject.name} answers {path} wrongly without any load: {wrong}")
        different = difference(reference, json.loads(body), _OPAQUE)
        if different is not None:
            raise ZmartError(f"{compared[0].name} and {subject.name} differ at {path}: {different}")


def difference(one: object, other: object, ignored: Set[str] = frozenset(), at: str = "") -> str | None:
    """Return the first place where two JSON values differ, with both values; None when they are equal.

    The keys `ignored` are skipped at the top level only.
    """
    if isinstance(one, dict) and isinstance(other, dict):
        for key in sorted({*one, *other} - ignored):
            if (result := difference(one.get(key), other.get(key), at=f"{at}.{key}")) is not None:
                return result
        return None
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        pairs = enumerate(zip(one, other, strict=True))
        differences = (difference(a, b, at=f"{at}[{position}]") for position, (a, b) in pairs)
        return next((result for result in differences if result is not None), None)
    return None if one == other else f"{at.lstrip('.')} is {one!r} and {other!r}"
