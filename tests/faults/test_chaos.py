"""Markets' lives on a real stack under faults drawn from a seed: nothing is lost or done twice."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from random import Random

import pytest

from kit.effects import done_twice
from kit.local_stack import stack_in
from kit.machine_time import machine_time, seconds_since
from kit.stack_faults import StackFaults
from kit.waiting import until
from zmart.cli.stack_output import rows
from zmart.local.demo.play import play
from zmart.local.demo.report import DemoReport
from zmart.services.indexer.audit import audit
from zmart.services.indexer.engine import opened
from zmart.services.indexer.rebuild import rebuild
from zmart.settings import Settings

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3_600)]
SEED = int(os.environ.get("CHAOS_SEED", "20261128"))
ROUNDS = int(os.environ.get("CHAOS_ROUNDS", "8"))
READY_WITHIN_S = 10.0


@pytest.fixture(scope="module")
def chaotic(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """Run a stack of its own for this module's faults; return its settings."""
    with stack_in(tmp_path_factory.mktemp("chaos")) as settings:
        yield settings


async def live_under_faults(settings: Settings, faults: StackFaults, chance: Random) -> DemoReport:
    """Play a market's whole life while one fault after the other is applied; return the life's report."""
    life = asyncio.create_task(play(settings))
    while not life.done():
        await asyncio.wait([life], timeout=chance.uniform(1, 6))
        if not life.done():
            await faults.one()
    return await life


async def ready_again_s(settings: Settings) -> float:
    """Wait until every process runs and is ready; return the seconds that it took."""
    began = machine_time()

    async def unready() -> list[str]:
        shown = await asyncio.to_thread(rows, settings.zmart_home)
        return [
            f"{row.name}: {row.state} {row.reason}"
            for row in shown
            if row.state != "running" or row.ready is False
        ]

    await until(unready, lambda found: not found, within_s=90, every_s=0.2)
    return seconds_since(began)


@pytest.mark.parametrize("number", range(ROUNDS))
async def test_a_life_ends_as_it_must_whatever_happens_to_the_machines(
    chaotic: Settings, number: int
) -> None:
    """C1-C10, C16-C22: after each life under faults, its balances agree and all processes are ready within seconds.

    Up to three processes are killed at once, or stopped; the database is read-only or locked, or its sessions end;
    Redis refuses writes, pauses or is emptied.
    """
    chance = Random(f"{SEED} {number}")
    faults = StackFaults(chaotic, chance)
    report = await live_under_faults(chaotic, faults, chance)
    took_s = await ready_again_s(chaotic)
    print(f"seed {SEED}, round {number}: {'; '.join(faults.told)}; ready after {took_s:.1f} s")
    assert report.failed_step == "", faults.told
    assert [check for check in report.books if not check.ok] == [], faults.told
    assert took_s < READY_WITHIN_S, faults.told


async def test_after_all_of_it_nothing_was_done_twice_and_the_index_is_the_chains(chaotic: Settings) -> None:
    assert await done_twice(chaotic.require("database_url")) == []
    async with opened(chaotic) as engine:
        audited = await audit(engine.pool, engine.rpc, engine.program)
        rebuilt = await rebuild(engine.pool, engine.projector)
    assert audited.differences == []
    assert rebuilt.was_equal
