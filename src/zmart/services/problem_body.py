"""Build the body of an error response, which has one shape on the ports of all services."""

from __future__ import annotations

import itertools
import re
import secrets
from collections.abc import Sequence
from http import HTTPStatus

import msgspec

from zmart.client.shapes.system import FieldProblem, Problem
from zmart.market.times import now_iso

_PATH_CHARS = 200
_NAMES = {413: "Payload Too Large", 414: "URI Too Long"}
"""Phrases of HTTP statuses that differ between versions of Python."""
_PROCESS_ID, _numbers = secrets.token_hex(6), itertools.count(secrets.randbits(32))
_VALID_ID = re.compile(rb"[A-Za-z0-9._:-]{1,64}")


def problem_body(
    status: int, message: str, path: str, request_id: str, details: Sequence[FieldProblem] = ()
) -> bytes:
    """Return the JSON of an error, a `Problem`; `path` is truncated to 200 characters."""
    return msgspec.json.encode(
        Problem(
            error=name_of(status),
            message=message,
            status=status,
            timestamp=now_iso(),
            path=path[:_PATH_CHARS],
            request_id=request_id,
            details=details or msgspec.UNSET,
        )
    )


def name_of(status: int) -> str:
    """Return the phrase of an HTTP status."""
    return _NAMES.get(status) or HTTPStatus(status).phrase


def request_id_of(given: bytes | None) -> str:
    """Return the client's own request id if it is valid, else a new request id."""
    if given is not None and _VALID_ID.fullmatch(given):
        return given.decode()
    return f"{_PROCESS_ID}{next(_numbers):012x}"
