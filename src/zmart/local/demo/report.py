"""Define the report of the demo: its steps, and the checks at the end."""

from __future__ import annotations

import msgspec


class StepResult(msgspec.Struct, frozen=True, kw_only=True):
    """Hold one step of a market's life and which sources showed it.

    `seconds` runs from the start of the action until the index, the socket and (where it applies) the snapshot showed
    it.
    """

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


class ConsistencyCheck(msgspec.Struct, frozen=True, kw_only=True):
    """Hold one comparison of two independent sources."""

    name: str
    ok: bool
    detail: str


class DemoReport(msgspec.Struct, frozen=True, kw_only=True):
    """Hold the whole play. `ok`: every step and every check held."""

    ok: bool
    seconds: float
    markets: dict[str, str]
    steps: list[StepResult]
    books: list[ConsistencyCheck]
    failed_step: str = ""


class StepOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """Hold what a step's action returns once all sources have shown it."""

    transaction: str = ""
    slot: int | None = None
    index: str = ""
    socket: str = ""
    snapshot: str = ""
