"""What the demo found out: one row a step, and the check of the books at the end."""

from __future__ import annotations

import msgspec


class StepResult(msgspec.Struct, frozen=True, kw_only=True):
    """One step of a market's life and who noticed it. `seconds` runs from the start of the action until the index,
    the socket and (where it has a say) the snapshot had all shown it."""

    market: str
    step: str
    ok: bool
    seconds: float
    transaction: str = ""
    slot: int | None = None
    index: str = ""
    socket: str = ""
    snapshot: str = ""
    error: str = ""


class BookCheck(msgspec.Struct, frozen=True, kw_only=True):
    """One comparison of two independent sources."""

    name: str
    ok: bool
    detail: str


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """The whole play. `ok` means every step and every check held."""

    ok: bool
    seconds: float
    markets: dict[str, str]
    steps: list[StepResult]
    books: list[BookCheck]
    failed_step: str = ""


class Done(msgspec.Struct, frozen=True, kw_only=True):
    """What a step's action hands back when everybody has noticed it."""

    transaction: str = ""
    slot: int | None = None
    index: str = ""
    socket: str = ""
    snapshot: str = ""
