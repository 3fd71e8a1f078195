"""Tests of several workers on one port: a killed one is replaced, no message is missed, figures are those of all."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import re
import signal
import subprocess
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import psutil
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidMessage

from kit import commands
from kit.waiting import until
from zmart.errors import ConfigError
from zmart.local.processes import free_port
from zmart.ops import worker_parent
from zmart.services.contract import Readiness
from zmart.services.workers.address_counts import AddressCounts, clear_row, create_table
from zmart.services.workers.metric_sums import ended_counters, summed
from zmart.services.workers.reports import WorkerReport, whole_readiness
from zmart.services.workers.slot import WorkerSlot
from zmart.store.pool import Pool

MARKET = "ab" * 32
COMMENT = f"INSERT INTO discussions (market_id, wallet, content) VALUES ('{MARKET}', '{'1' * 32}', $1)"
CLIENTS, CHANGES = 24, 60


class RunningWorkers:
    """A service that runs with two workers."""

    def __init__(self, process: asyncio.subprocess.Process, port: int) -> None:
        self.process = process
        self.port = port
        self.http = httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=10)

    async def get(self, path: str) -> httpx.Response:
        """Send a request on a new connection, so either worker may answer it."""
        return await self.http.get(path, headers={"connection": "close"})

    async def pids(self) -> list[int]:
        try:
            return [worker["pid"] for worker in (await self.get("/health")).json()["workers"]]
        except (httpx.HTTPError, KeyError):
            return []

    async def health(self, field: str) -> int:
        """Return a number of the health answer: that of the worker that answers, or the sum of all workers."""
        return int((await self.get("/health")).json()[field])

    async def both_run(self, but: int = 0) -> bool:
        pids = await self.pids()
        return len(pids) == 2 and but not in pids

    async def figure(self, pattern: str) -> float:
        found = re.findall(rf"^{pattern} (\S+)$", (await self.get("/metrics")).text, re.MULTILINE)
        return sum(map(float, found))


@asynccontextmanager
async def running(
    service: str, port_setting: str, folder: Path, **settings: object
) -> AsyncIterator[RunningWorkers]:
    port = free_port()
    env = commands.environment(zmart_home=folder, **{port_setting: port}, **settings)
    with (folder / "out").open("wb") as out:
        process = await commands.start(
            "run", service, "--workers", "2", env=env, stdout=out, stderr=subprocess.STDOUT
        )
    workers = RunningWorkers(process, port)
    try:
        await until(workers.both_run, within_s=90)
        yield workers
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
            assert await asyncio.wait_for(process.wait(), 60) == 0, (folder / "out").read_text()
    finally:
        await workers.http.aclose()
        if process.returncode is None:
            process.kill()
            await process.wait()


async def follow(port: int, offsets: list[int], reconnects: list[int], subscribed: list[int]) -> None:
    """Follow the channel until its last change, and resume with the last offset after each lost connection.

    The first offset is that of the subscription.
    """
    position: dict[str, object] = {}
    while len(offsets) < CHANGES:
        try:
            async with connect(f"ws://127.0.0.1:{port}") as socket:
                await socket.send(
                    json.dumps({"action": "subscribe", "channel": f"discussions:{MARKET}", **position})
                )
                async for text in socket:
                    message = json.loads(text)
                    assert message["type"] != "gap"
                    if "channel" in message:
                        position = {"epoch": message["epoch"], "offset": message["offset"]}
                    if message["type"] == "subscribed":
                        subscribed.append(message["offset"])
                    if message["type"] == "discussion":
                        offsets.append(message["offset"])
                    if len(offsets) >= CHANGES:
                        return
        except (ConnectionClosed, InvalidMessage, OSError, TimeoutError):
            reconnects.append(1)
            await asyncio.sleep(0.05)


async def test_a_killed_worker_of_the_sockets_is_replaced_and_no_client_misses_a_change(
    database_url: str, redis_url: str, tmp_path: Path, pool: Pool
) -> None:
    settings = {"database_url": database_url, "redis_url": redis_url}
    async with running("websocket", "ws_port", tmp_path, **settings) as workers:
        received: list[list[int]] = [[] for _ in range(CLIENTS)]
        reconnects: list[int] = []
        subscribed: list[int] = []
        following = [
            asyncio.create_task(follow(workers.port, offsets, reconnects, subscribed)) for offsets in received
        ]
        await until(lambda: subscribed, lambda confirmed: len(confirmed) == CLIENTS)
        await until(lambda: workers.figure("zmart_websocket_subscriptions"), lambda held: held == CLIENTS)
        # a worker answers for the others by their last reports, which may be a second old
        await until(lambda: workers.health("connections"), lambda held: held == CLIENTS)
        before = await workers.figure("zmart_websocket_connected_total")
        victim = (await workers.pids())[0]
        for number in range(CHANGES):
            await pool.execute(COMMENT, str(number))
            if number == CHANGES // 3:
                os.kill(victim, signal.SIGKILL)
        await asyncio.wait_for(asyncio.gather(*following), 60)
        assert reconnects, "the killed worker had clients"
        first = received[0][0]
        assert all(offsets == list(range(first, first + CHANGES)) for offsets in received)
        await until(lambda: workers.both_run(but=victim), within_s=60)
        assert (await workers.get("/ready")).status_code == 200
        assert await workers.figure("zmart_websocket_connected_total") >= before, "no counter falls"
        async with connect(f"ws://127.0.0.1:{workers.port}") as socket:
            workers.process.send_signal(signal.SIGTERM)
            with pytest.raises(ConnectionClosed) as closed:
                while True:
                    await socket.recv()
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1012, "SIGTERM reaches every worker"


async def test_the_gateway_with_workers_counts_for_all_and_ends_with_its_parent(
    database_url: str, redis_url: str, tmp_path: Path
) -> None:
    settings = {"database_url": database_url, "redis_url": redis_url, "rate_limit_reads": 30}
    async with running("gateway", "api_port", tmp_path, **settings) as workers:
        route = r'zmart_gateway_requests_total\{method="GET",route="/api/markets",status="%s"\}'
        answers = [await workers.get("/api/markets") for _ in range(40)]
        assert len({answer.headers["x-request-id"][:8] for answer in answers}) == 2, "each counts up its own"
        allowed = sum(answer.status_code == 200 for answer in answers)
        assert allowed == 30, "the limit of an address is one for all workers"
        await until(lambda: workers.figure(route % 200), lambda counted: counted == 30)
        await until(lambda: workers.figure(route % 429), lambda counted: counted == 10)
        pids = await workers.pids()
        workers.process.kill()
        await workers.process.wait()
        await until(lambda: not any(map(psutil.pid_exists, pids)))


def report(number: int, *, ready: bool = True, age_s: float = 0.0) -> WorkerReport:
    import time

    state = Readiness(
        ready=ready, reason="" if ready else "PostgreSQL is unavailable.", details={"connections": 2}
    )
    return WorkerReport(
        number=number, pid=9, at_s=time.monotonic() - age_s, readiness=state, health={}, metrics=""
    )


def test_a_service_is_ready_while_every_worker_that_takes_connections_is(tmp_path: Path) -> None:
    slot, own = WorkerSlot(1, 2, tmp_path), Readiness(ready=True, details={"connections": 1})
    assert whole_readiness(own, [report(2)], slot).details == {"connections": 3, "workers": 2}
    missing = whole_readiness(own, [], slot)
    assert (missing.ready, missing.reason) == (True, "1 of 2 workers do not run.")
    assert "PostgreSQL is unavailable." in whole_readiness(own, [report(2, ready=False)], slot).reason
    silent = whole_readiness(own, [report(2, age_s=7)], slot)
    assert (silent.ready, "has not answered for 7 s" in silent.reason) == (False, True)


def test_connections_of_an_address_are_counted_over_all_workers(tmp_path: Path) -> None:
    slots = [WorkerSlot(number, 2, tmp_path) for number in (1, 2)]
    create_table(slots[0])
    one, other = map(AddressCounts, slots)
    for counts in (one, one, other):
        counts.add("192.0.2.1")
    one.add("192.0.2.2")
    assert [one["192.0.2.1"], other["192.0.2.1"], other["192.0.2.2"]] == [3, 3, 1]
    one.remove("192.0.2.1")
    assert other["192.0.2.1"] == 2
    clear_row(slots[0])
    assert other["192.0.2.1"] == 1, "those of a worker that ended are forgotten"


def test_metrics_are_added_up_and_those_of_a_worker_that_ended_stay() -> None:
    def text(count: int, connections: int, offset: int) -> str:
        return (
            "# HELP a_total A\n# TYPE a_total counter\n" f'a_total{{b="c"}} {count}\n'
            f"# TYPE connections gauge\nconnections {connections}\n# TYPE feed_offset gauge\nfeed_offset {offset}\n"
            f'# TYPE s histogram\ns_bucket{{le="1.0"}} {count}\ns_bucket{{le="+Inf"}} {count}\n'
            f"s_count {count}\ns_sum 2.5\n"
        )  # fmt: skip

    ended = ended_counters([ended_counters(["", text(1, 7, 3)]), text(2, 9, 4)])
    lines = summed([text(4, 5, 8), text(8, 6, 9), ended]).decode().splitlines()
    assert {
        'a_total{b="c"} 15.0',
        "connections 11.0",
        "feed_offset 9.0",
        "s_count 15.0",
        "s_sum 10.0",
    } <= set(lines)


def test_workers_without_a_folder_for_temporary_files_say_what_is_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As in the image, whose root file system is read-only."""

    def none_is_usable(**_: object) -> str:
        raise FileNotFoundError(errno.ENOENT, "No usable temporary directory found in ['/tmp']")

    monkeypatch.setattr(tempfile, "mkdtemp", none_is_usable)
    with pytest.raises(ConfigError, match="TMPDIR"), worker_parent._folder():
        pass
