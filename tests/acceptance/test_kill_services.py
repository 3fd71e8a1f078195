"""Services are killed by SIGKILL during a demo: it succeeds nevertheless, and nothing is lost or done twice."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections.abc import Callable

import pytest

from zmart.local.demo.play import play
from zmart.local.demo.report import StepResult
from zmart.local.stack import supervisor_of
from zmart.services.contract import SERVICES
from zmart.settings import Settings


def killer(stack: Settings, seed: int) -> tuple[Callable[[str, str], None], list[str]]:
    """Return a function that kills a service at the start of about every second step, and the list of its kills.

    The six services are killed in a random order, then in another one.
    """
    chance = random.Random(seed)
    supervisor = supervisor_of(stack.zmart_home)
    order: list[str] = []
    killed: list[str] = []

    def on_start(market: str, step: str) -> None:
        nonlocal order
        order = order or chance.sample(list(SERVICES), len(SERVICES))
        if chance.random() < 0.5:
            return
        name = order.pop()
        for info in supervisor.processes():
            if info.name == name and info.pid:
                os.kill(info.pid, signal.SIGKILL)
                killed.append(f"{name} at {market}: {step}")

    return on_start, killed


@pytest.mark.slow
def test_a_life_goes_on_while_every_service_is_killed(stack: Settings) -> None:
    on_start, killed = killer(stack, seed=20261124)

    def on_step(result: StepResult) -> None:
        print(result.market, result.step, result.ok, result.seconds, result.error)

    report = asyncio.run(play(stack, on_start=on_start, on_step=on_step))
    assert {line.split()[0] for line in killed} == set(SERVICES)
    assert report.failed_step == "", killed
    assert [check for check in report.books if not check.ok] == [], killed
