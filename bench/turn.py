"""One turn: a subject is under load for some seconds while answers are checked and, in the mix, trades are written."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

import asyncpg
import database
import request_plan
import wrk
from comparison import Load
from header_sets import HeaderSet
from request_plan import PlannedRequest
from sampling import Sampler
from subjects import Subject
from trading import Trader, open_pipe

from zmart.errors import ZmartError


@dataclass(frozen=True)
class Turn:
    """The result of a turn: the load's figures, the statements for each answer, and the number of checked answers.

    `writes` counts the committed writes of those that were `due`.
    """

    load: Load
    statements: float
    checked: int
    writes: int
    due: int


class Bench:
    """The parts that all turns share: two connections of the benchmark's own, header sets, files for plans, a pipe."""

    def __init__(
        self,
        looking: asyncpg.Connection,
        writing: asyncpg.Connection,
        header_sets: Sequence[HeaderSet],
        market_ids: Sequence[str],
        folder: Path,
    ) -> None:
        self.header_sets = header_sets
        self._looking = looking
        self._writing = writing
        self._market_ids = market_ids
        self._header_file = folder / "header_sets"
        self._plan_file = folder / "plan"
        self._pipe_file = folder / "writes"
        self._turns = 0
        self._pipe = open_pipe(self._pipe_file)
        request_plan.write_header_sets(self._header_file, header_sets)

    def close(self) -> None:
        os.close(self._pipe)

    async def turn(
        self,
        subject: Subject,
        plan: Sequence[PlannedRequest],
        seconds: int,
        *,
        with_writes: bool,
        may_be_stale: bool,
    ) -> Turn:
        """Run one turn of `seconds`. Raises ZmartError when an answer was wrong or not 2xx."""
        request_plan.write_plan(self._plan_file, plan)
        pipe = self._pipe_file if with_writes else None
        attack = wrk.Attack(subject.base, subject.prefix, self._plan_file, self._header_file, pipe)
        self._turns += 1  # each turn has a seed of its own, so that no trade's signature repeats
        random = Random(f"{subject.name}: samples of turn {self._turns}")
        sampler = Sampler(self._looking, subject, self.header_sets, may_be_stale=may_be_stale)
        trader = Trader(self._writing, self._market_ids, random)
        over = asyncio.Event()
        before = await database.statements(self._writing)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(sampler.run(plan, random, over))
                trading = group.create_task(trader.run(self._pipe, over)) if with_writes else None
                load = await wrk.run(attack, seconds)
                over.set()
        except* ZmartError as problems:
            raise problems.exceptions[0] from None
        await database.until_idle(self._writing)
        ran = await database.statements(self._writing) - before
        due = trading.result() if trading else 0
        return Turn(load, ran / (load.requests + sampler.checked), sampler.checked, trader.committed, due)
