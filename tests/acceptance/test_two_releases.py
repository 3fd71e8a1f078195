"""An update without an interruption: this release and the next one run side by side while the schema is migrated."""

from __future__ import annotations

import asyncio
from asyncio.subprocess import DEVNULL, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import cycle
from pathlib import Path

import httpx
import pytest

from kit.commands import start
from kit.next_release import REVISION, NextRelease
from kit.waiting import until
from zmart.local.demo.play import play
from zmart.local.demo.recorder import SocketRecorder
from zmart.local.processes import free_port
from zmart.local.stack import SERVICE_GROUP, read_record, supervisor_of
from zmart.services.contract import SERVICES
from zmart.settings import Settings
from zmart.store import change_feed
from zmart.store.pool import Pool

_PATHS = ("/api/markets", "/api/status", "/api/markets/activity", "/ready")
_CHANNELS = ["markets", "trades", "activity"]
_TWICE = """
SELECT market_id, name FROM chain_events
WHERE name IN ('ProposalAggregated', 'ProposalApproved', 'MarketFinalized', 'MarketCancelled')
GROUP BY market_id, name HAVING count(*) > 1
"""


class Balancer:
    """Sends requests to the gateways in rotation, one after the other.

    `rotation` holds their URLs by name, `answers` counts their answers, `failures` names each status other than 200.
    """

    def __init__(self) -> None:
        self.rotation: dict[str, str] = {}
        self.failures: list[str] = []
        self.answers: dict[str, int] = {}

    async def run(self) -> None:
        async with httpx.AsyncClient(trust_env=False, timeout=10) as client:
            for path in cycle(_PATHS):
                for name, url in list(self.rotation.items()):
                    try:
                        status = (await client.get(url + path)).status_code
                    except httpx.HTTPError as problem:
                        status = type(problem).__name__
                    if status != 200 and name in self.rotation:
                        self.failures.append(f"{name} {path}: {status}")
                    self.answers[name] = self.answers.get(name, 0) + 1
                await asyncio.sleep(0.02)


class MarketLives:
    """Plays demos, one after the other; `steps` counts their steps, `failures` names failed steps and checks."""

    def __init__(self, stack: Settings) -> None:
        self._stack = stack
        self.steps = 0
        self.failures: list[str] = []

    async def run(self, updated: asyncio.Event) -> None:
        """Play demos until `updated` is set, and then once more."""
        while not updated.is_set():
            await self._play()
        await self._play()

    async def _play(self) -> None:
        report = await play(self._stack, on_start=self._count)
        self.failures += filter(None, [report.failed_step])
        self.failures += [f"{check.name}: {check.detail}" for check in report.books if not check.ok]

    def _count(self, market: str, step: str) -> None:
        self.steps += 1


async def ready(port: int) -> None:
    async with httpx.AsyncClient(trust_env=False) as client:

        async def is_ready() -> bool:
            try:
                return (await client.get(f"http://127.0.0.1:{port}/ready")).status_code == 200
            except httpx.HTTPError:
                return False

        await until(is_ready, within_s=60)


@asynccontextmanager
async def services_of(following: NextRelease, stack: Settings) -> AsyncIterator[dict[str, int]]:
    """Run the six services of the next release beside those of this one; yield their ports once all are ready."""
    record = read_record(stack.zmart_home)
    assert record is not None
    ports = {name: free_port() for name in SERVICES}
    changed = {SERVICES[name]: port for name, port in ports.items()}
    env = following.environment(
        **{name.lower(): value for name, value in record.environment.items()} | changed
    )
    processes: list[Process] = []
    try:
        processes += [await start("run", name, env=env, stdout=DEVNULL, stderr=DEVNULL) for name in SERVICES]
        for port in ports.values():
            await ready(port)
        yield ports
        assert [process.returncode for process in processes] == [None] * len(processes)
    finally:
        for process in processes:
            if process.returncode is None:
                process.terminate()
        for process in processes:
            assert await process.wait() == 0


async def restart(stack: Settings, name: str) -> None:
    """Stop a service of this release, start it again on the present schema, and wait until it is ready."""
    supervisor, program = supervisor_of(stack.zmart_home), f"{SERVICE_GROUP}:{name}"
    await asyncio.to_thread(supervisor.stop, program)
    await asyncio.to_thread(supervisor.start, program)
    await ready(getattr(stack, SERVICES[name]))


@pytest.mark.slow
async def test_an_update_fails_no_request_loses_no_event_and_does_nothing_twice(
    stack: Settings, tmp_path: Path
) -> None:
    following, balancer = NextRelease(tmp_path), Balancer()
    balancer.rotation["this release"] = f"http://127.0.0.1:{stack.api_port}"
    database_url = stack.require("database_url")
    pool = await Pool.open(database_url, size=1)
    began = await change_feed.head(pool)
    since = (began.epoch, began.head)
    lives, updated = MarketLives(stack), asyncio.Event()
    load = asyncio.create_task(balancer.run())
    living = asyncio.create_task(lives.run(updated))
    try:
        async with SocketRecorder.listening(f"ws://127.0.0.1:{stack.ws_port}", _CHANNELS, since) as older:
            await until(lambda: lives.steps, lambda number: number > 5)
            assert f"database: {REVISION}" in await following.migrate(database_url, "up")
            async with services_of(following, stack) as ports:
                balancer.rotation["next release"] = f"http://127.0.0.1:{ports['gateway']}"
                url = f"ws://127.0.0.1:{ports['websocket']}"
                async with SocketRecorder.listening(url, _CHANNELS, since) as newer:
                    # Each process of this release starts once more, on the newer schema.
                    for name in SERVICES:
                        gateway = balancer.rotation.pop("this release")
                        await restart(stack, name)
                        balancer.rotation["this release"] = gateway
                    for name in ("indexer", "aggregator", "monitor"):
                        program = f"{SERVICE_GROUP}:{name}"
                        await asyncio.to_thread(supervisor_of(stack.zmart_home).stop, program)
                    updated.set()
                    await living
                    ended = await change_feed.head(pool)
                    changes = await change_feed.read_after(pool, began.head, 100_000)
                    markets = [
                        change.offset for change in changes if change.topic is change_feed.Topic.MARKETS
                    ]
                    for recorder in (older, newer):
                        await recorder.through("markets", markets[-1])
                        assert [m.offset for m in recorder.tape("markets")] == markets
                        assert recorder.gaps == {}
                del balancer.rotation["next release"]
        assert lives.failures == []
        assert [change.offset for change in changes] == list(range(began.head + 1, ended.head + 1))
        assert await pool.fetch(_TWICE) == []
        assert balancer.failures == []
        assert min(balancer.answers["this release"], balancer.answers["next release"]) > 50
    finally:
        load.cancel()
        living.cancel()
        await pool.close()
