"""Run a day of schedules with traffic: for each tick of the services, the chain's clock advances by five minutes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import asyncpg
import msgspec

from kit.soak.figures import Figures, read
from kit.soak.probes import ProbeAnswer, Prober
from zmart.chain.rpc import Rpc
from zmart.local.chain import travel
from zmart.local.demo.play import play
from zmart.local.demo.recorder import SocketRecorder
from zmart.local.demo.traffic import light_traffic
from zmart.settings import Settings

TICK_CHAIN_S = 300
"""Seconds on the chain's clock between two ticks of `*/5 * * * *`."""
_CHANNEL = "activity"  # never conflated: each client receives every message


class DayPlan(msgspec.Struct, frozen=True):
    """The plan of a day: `ticks` ticks of `tick_s` seconds, which must agree with the services' cron.

    A market's life begins in the first tick and every `life_every` ticks after it; 0: never.
    """

    ticks: int
    tick_s: float
    life_every: int


class Day(msgspec.Struct, frozen=True):
    """The results of a day.

    `seconds` is its duration, `figures` the figures after each tick, `probes` all answers to probes, `uptime` the share
    of good answers by service. `lives` counts the markets' lives, `failed_lives` describes those that went wrong.
    `heard` are the feed's offsets that a listener received. `replayed` are those that a client receives which resumes
    after the day from its beginning. `reconnects` counts the listener's reconnections.
    """

    plan: DayPlan
    seconds: float
    figures: list[Figures]
    probes: list[ProbeAnswer]
    uptime: dict[str, float]
    lives: int
    failed_lives: list[str]
    heard: list[int]
    replayed: list[int]
    reconnects: int


async def live(settings: Settings, plan: DayPlan, on_tick: Callable[[int, Figures], None]) -> Day:
    """Run the day on a stack whose schedules tick every `plan.tick_s` seconds; call `on_tick` after each tick."""
    prober, lives = Prober(settings), Lives(settings)
    database = await asyncpg.connect(settings.require("database_url"))
    rpc = Rpc.from_settings(settings)
    url = f"ws://127.0.0.1:{settings.ws_port}"
    figures: list[Figures] = []
    began = time.monotonic()
    try:
        async with SocketRecorder.listening(url, [_CHANNEL]) as recorder:
            beside = [asyncio.create_task(prober.run()), asyncio.create_task(light_traffic(settings))]
            try:
                for number in range(1, plan.ticks + 1):
                    if plan.life_every and (number - 1) % plan.life_every == 0:
                        await lives.begin()
                    if not lives.is_running:  # a market's life advances the clock itself
                        await travel.advance(rpc, TICK_CHAIN_S)
                    await asyncio.sleep(max(0.0, began + number * plan.tick_s - time.monotonic()))
                    figures.append(await read(settings, database, time.monotonic() - began))
                    on_tick(number, figures[-1])
                await lives.end()
            finally:
                for task in beside:
                    task.cancel()
                await asyncio.gather(*beside, return_exceptions=True)
            heard = [message.offset for message in recorder.tape(_CHANNEL)]
        replayed = await _replay(url, (recorder.epoch, recorder.first_offset - 1), heard)
    finally:
        await rpc.aclose()
        await database.close()
    return Day(
        plan, time.monotonic() - began, figures, prober.answers, dict(prober.uptime()), lives.done, lives.failed,
        heard, replayed, recorder.reconnects,
    )  # fmt: skip


class Lives:
    """Plays markets' lives in the background, one after the other; each checks its own balances in the end."""

    def __init__(self, settings: Settings) -> None:
        self.done = 0
        self.failed: list[str] = []
        self._settings = settings
        self._task: asyncio.Task[None] | None = None

    @property
    def is_running(self) -> bool:
        return self._task is not None and not self._task.done()

    async def begin(self) -> None:
        """Wait until the current life has ended, then begin the next one."""
        await self.end()
        self._task = asyncio.create_task(self._play())

    async def end(self) -> None:
        if self._task is not None:
            await self._task

    async def _play(self) -> None:
        report = await play(self._settings)
        self.done += 1
        if not report.ok:
            wrong = [f"{check.name}: {check.detail}" for check in report.books if not check.ok]
            self.failed.append(f"life {self.done}: {report.failed_step} {'; '.join(wrong)}")


async def _replay(url: str, since: tuple[str, int], heard: list[int]) -> list[int]:
    if not heard:
        return []
    async with SocketRecorder.listening(url, [_CHANNEL], since) as recorder:
        await recorder.through(_CHANNEL, heard[-1])
        return [message.offset for message in recorder.tape(_CHANNEL)][: len(heard)]
