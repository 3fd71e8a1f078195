"""Translate failures of the store to what a client is told: a sentence, and after how many seconds to retry."""

from __future__ import annotations

from math import ceil

import msgspec

from zmart.errors import Busy, ReadOnly, StoreError, Unavailable

_UNAVAILABLE = "The database does not answer at the moment. Try again in a few seconds."
_BUSY = "The database is busy at the moment. Try again in a few seconds."
_READ_ONLY = (
    "The database accepts no writes at the moment, reads are answered. Send this again in half a minute."
)


class StoreRefusal(msgspec.Struct, frozen=True):
    """The sentence of an answer with status 503, and the value of its Retry-After header in seconds."""

    message: str
    retry_after: str


def refusal_of(problem: StoreError) -> StoreRefusal:
    """Return the answer for a failure of the store.

    It does not repeat PostgreSQL's own message, which is in the log and in /ready.
    """
    return StoreRefusal(_message(problem), str(ceil(problem.retry_after_s)))


def _message(problem: StoreError) -> str:
    if problem.server == "PostgreSQL":
        match problem:
            case Unavailable():
                return _UNAVAILABLE
            case Busy():
                return _BUSY
            case ReadOnly():
                return _READ_ONLY
    if isinstance(problem, (Unavailable, Busy, ReadOnly)):
        return f"{problem} Try again in a few seconds."
    return str(problem)
