"""A request as the front sees it: before any route is looked for."""

from __future__ import annotations

import itertools
import re
import secrets
from dataclasses import dataclass

from zmart.services.contract import Scope

Headers = list[tuple[bytes, bytes]]
_OURS, _numbers = secrets.token_hex(6), itertools.count(secrets.randbits(32))
_SANE_ID = re.compile(rb"[A-Za-z0-9._:-]{1,64}")


class Common:
    """The headers that every answer to one origin has; compared by identity."""

    def __init__(self, headers: Headers) -> None:
        self.headers = headers


@dataclass(slots=True)
class Asked:
    """`given` are its headers, one of each name; `began` is of time.perf_counter."""

    scope: Scope
    given: dict[bytes, bytes]
    common: Common
    request_id: str
    began: float


def request_id_of(given: bytes | None) -> str:
    """The client's own id if it is a sane one, else a new one."""
    if given is not None and _SANE_ID.fullmatch(given):
        return given.decode()
    return f"{_OURS}{next(_numbers):012x}"
