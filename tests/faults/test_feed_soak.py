"""The live feed over a long time: clients connect and disconnect, none misses a change, and memory is flat."""

from __future__ import annotations

import asyncio
import os
import time

import asyncpg
import psutil
import pytest

from kit import commands
from kit.feed_crowd import Crowd
from kit.waiting import until
from zmart.local.processes import free_port, port_is_free

import feed_database  # isort: skip  # kit.feed_crowd makes the folder of the benchmarks importable

SOAK_S = float(os.environ.get("SOAK_SECONDS", "3600"))
WARM_UP_S = 600.0
SLOPE_MB_PER_H = 1.0


class Soak:
    """Results of a run: `samples` of (second, MB of the server's memory), and the number of connections."""

    def __init__(self) -> None:
        self.samples: list[tuple[float, float]] = []
        self.connects = 0

    def slope_mb_per_h(self, after_s: float) -> float:
        """Return the slope of memory in MB per hour, by least squares over the samples from second `after_s` on."""
        points = [(at / 3600, mb) for at, mb in self.samples if at >= after_s]
        middle_h = sum(h for h, _ in points) / len(points)
        middle_mb = sum(mb for _, mb in points) / len(points)
        across = sum((h - middle_h) ** 2 for h, _ in points)
        return sum((h - middle_h) * (mb - middle_mb) for h, mb in points) / across


def connections_of(crowd: Crowd) -> int:
    """Return how often all clients together have connected."""
    return sum(client.attempts for client in crowd.clients)


async def soak(
    database_url: str,
    redis_url: str,
    *,
    clients: int,
    stay_s: float,
    seconds: float,
    changes_per_s: int,
    connects: int = 0,
) -> Soak:
    """Run clients and changes for `seconds`, and until there were more than `connects` connections.

    AssertionError when a client missed or repeated a change, received a gap, or lost its connection.
    """
    port, result = free_port(), Soak()
    env = commands.environment(
        database_url=database_url, redis_url=redis_url, ws_port=port, ws_max_per_ip=clients + 10,
        ws_max_connections=clients + 10, log_level="error",
    )  # fmt: skip
    connection = await asyncpg.connect(database_url)
    writer = feed_database.TradeWriter(connection)
    server = await commands.start("run", "websocket", env=env)
    try:
        await until(lambda: not port_is_free(port))
        writing = asyncio.create_task(writer.run(changes_per_s))
        async with Crowd(port, clients, stay_s) as crowd:
            process, began = psutil.Process(server.pid), time.monotonic()
            while (at := time.monotonic() - began) < seconds or connections_of(crowd) <= connects:
                result.samples.append((at, process.memory_info().rss / 1e6))
                await asyncio.sleep(min(5.0, seconds / 20))
            writer.stop()
            await writing
            await crowd.gather_all()
            await writer.commit(1)
            await until(lambda: {client.last for client in crowd.clients}, {writer.number}.__eq__)
            faults = {
                name: sum(getattr(client, name) for client in crowd.clients)
                for name in ("holes", "repeats", "gaps", "losses")
            }
            assert not any(faults.values()), faults
            result.connects = connections_of(crowd)
        return result
    finally:
        server.kill()
        await server.wait()
        await connection.close()


async def test_clients_that_come_and_go_miss_no_change(database_url: str, redis_url: str) -> None:
    """A short form of the long run below: 100 clients for some seconds, each with several connections."""
    result = await soak(
        database_url, redis_url, clients=100, stay_s=0.7, seconds=5, changes_per_s=40, connects=300
    )
    first, last = result.samples[len(result.samples) // 3][1], result.samples[-1][1]
    assert last - first < 10


@pytest.mark.slow
@pytest.mark.timeout(SOAK_S + 900)
async def test_1000_clients_come_and_go_for_an_hour_and_memory_is_flat(
    database_url: str, redis_url: str
) -> None:
    """SOAK_SECONDS sets the duration; memory is judged after ten minutes, or after a third of a shorter run."""
    result = await soak(database_url, redis_url, clients=1_000, stay_s=20, seconds=SOAK_S, changes_per_s=20)
    slope = result.slope_mb_per_h(min(WARM_UP_S, SOAK_S / 3))
    curve = ", ".join(
        f"{at:.0f} s: {mb:.1f}" for at, mb in result.samples[:: max(1, len(result.samples) // 12)]
    )
    print(f"{result.connects} connections, {slope:+.2f} MB/h; MB after {curve}")
    assert slope < SLOPE_MB_PER_H
