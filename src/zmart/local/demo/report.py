"""Define the report of the demo: its steps, and the checks at the end."""

from __future__ import annotations

import msgspec


class StepResult(msgspec.Struct, frozen=True, kw_only=True):
    """The result of one step. `index`, `socket` and `snapshot` are texts that say what each source showed.

    `seconds` is the time from the start of the action until the index, the WebSocket and, where it applies, the
    snapshot showed the result. `error` is empty if the step succeeded.
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
    """The result of comparing independent sources; `detail` says what was compared, or how they differ."""

    name: str
    ok: bool
    detail: str


class DemoReport(msgspec.Struct, frozen=True, kw_only=True):
    """The report of the play. `ok`: every step and every check succeeded. `books`: the checks at the end.

    `markets` maps each market's label to its id. `failed_step` is empty if no step failed.
    """

    ok: bool
    seconds: float
    markets: dict[str, str]
    steps: list[StepResult]
    books: list[ConsistencyCheck]
    failed_step: str = ""


class StepOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """The return value of a step's action, once all sources have shown its result; fields as in StepResult."""

    transaction: str = ""
    slot: int | None = None
    index: str = ""
    socket: str = ""
    snapshot: str = ""
