"""Runs the steps of the play one after the other and writes down how each went."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import ParamSpec

from zmart.local.demo.report import Done, StepResult

P = ParamSpec("P")


class StepFailed(Exception):  # it ends the play; the row of the step tells the error
    """A step did not come about; its row is in `results`."""


class Stage:
    """`play(market, step, action)` times the action and keeps its row; `on_step` is told each row at once."""

    def __init__(self, on_start: Callable[[str, str], None], on_step: Callable[[StepResult], None]) -> None:
        self._on_start = on_start
        self._on_step = on_step
        self.results: list[StepResult] = []

    async def play(
        self,
        market: str,
        step: str,
        action: Callable[P, Awaitable[Done]],
        *arguments: P.args,
        **options: P.kwargs,
    ) -> None:
        """Raises StepFailed when the action raised anything."""
        self._on_start(market, step)
        start = time.monotonic()
        try:
            done, error = await action(*arguments, **options), ""
        except Exception as problem:  # every failure belongs into the table, with its step
            done, error = Done(), f"{type(problem).__name__}: {problem}"
        result = StepResult(
            market=market,
            step=step,
            ok=not error,
            seconds=round(time.monotonic() - start, 3),
            transaction=done.transaction,
            slot=done.slot,
            index=done.index,
            socket=done.socket,
            snapshot=done.snapshot,
            error=error,
        )
        self.results.append(result)
        self._on_step(result)
        if error:
            raise StepFailed(f"{market}: {step}: {error}")
