"""Run the steps of the play one after the other and record their results."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import ParamSpec

from zmart.local.demo.report import StepOutcome, StepResult

P = ParamSpec("P")


class StepFailed(Exception):  # it only ends the play: the step's result holds the error
    """Report that a step failed; its result, with the error, is in `Stage.results`."""


class Stage:
    """Run steps with `play`, time them, and record their results in `results`.

    `on_start` gets a step's market and description before it runs, `on_step` its result.
    """

    def __init__(self, on_start: Callable[[str, str], None], on_step: Callable[[StepResult], None]) -> None:
        self._on_start = on_start
        self._on_step = on_step
        self.results: list[StepResult] = []

    async def play(
        self,
        market: str,
        step: str,
        action: Callable[P, Awaitable[StepOutcome]],
        *arguments: P.args,
        **options: P.kwargs,
    ) -> None:
        """Run the action of one step, and record the result. Raises StepFailed if the action raised an Exception."""
        self._on_start(market, step)
        start = time.monotonic()
        try:
            done, error = await action(*arguments, **options), ""
        except Exception as problem:  # the table must show every failure, with its step
            done, error = StepOutcome(), f"{type(problem).__name__}: {problem}"
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
