"""Live through a day of schedules: each tick of the services is five minutes on the chain, with traffic meanwhile."""

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
"""What lies between two ticks of `*/5 * * * *`."""
_CHANNEL = "activity"  # never conflated: a reader is sent all of it


class DayPlan(msgspec.Struct, frozen=True):
    """`ticks` of `tick_s` each, as the services' cron has them; a market's whole life before every `life_every`-th."""

    ticks: int
    tick_s: float
    life_every: int


class Day(msgspec.Struct, frozen=True):
    """What happened: figures after each tick, all probes, the failed lives; the offsets that a listener of the feed
    got, and those that a client gets which comes back after the whole day."""

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
    """Live through the day on a running stack whose schedules tick every `plan.tick_s`."""
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
                    if not lives.is_running:  # a life moves the clock by itself
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
    """Plays one market's life after the other beside everything else; each checks its own books."""

    def __init__(self, settings: Settings) -> None:
        self.done = 0
        self.failed: list[str] = []
        self._settings = settings
        self._task: asyncio.Task[None] | None = None

    @property
    def is_running(self) -> bool:
        return self._task is not None and not self._task.done()

    async def begin(self) -> None:
        """Begin the next life; the last one ends first."""
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
