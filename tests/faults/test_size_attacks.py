"""A5-A8, A14, A15: under all attacks by size at once, a gateway and an indexer stay small and quick."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from pathlib import Path

import pytest

from kit.all_ports import ServicePort, all_ports
from kit.gateway import add_market
from kit.raw_client import connected
from kit.servers import LocalChain
from zmart.store.pool import Pool

MIB = 1 << 20
_MOST_GROWN = 150 * MIB
_MARKETS = 200
_NAMES = ("gateway", "indexer")


async def probe(service: ServicePort, until: asyncio.Event, seconds: list[float], peak: list[int]) -> None:
    """Request /health until the event is set; append the seconds of each answer and the process's bytes of memory."""
    while not until.is_set():
        began = time.monotonic()
        async with connected(service.port) as client:
            status, _, _ = await client.get("/health")
        assert status == 200
        seconds.append(time.monotonic() - began)
        peak.append(service.resident_bytes())
        await asyncio.sleep(0.02)


async def under_attack(
    chain: LocalChain, database_url: str, redis_url: str, folder: Path, attack_s: float
) -> dict[str, tuple[list[float], int]]:
    """Attack a gateway and an indexer for `attack_s` seconds.

    Return, by service, the seconds that each request of /health took, and by how many bytes its memory grew at most.
    """
    pool = await Pool.open(database_url, size=1)
    for number in range(_MARKETS):
        await add_market(pool, number)
    await pool.close()
    secret = "what Helius echoes, of 32 characters"
    options = {"helius_webhook_secret": secret}
    async with all_ports(chain, database_url, redis_url, folder, _NAMES, **options) as ports:
        idle = {name: each.resident_bytes() for name, each in ports.items()}
        seconds: dict[str, list[float]] = {name: [] for name in ports}
        peaks = {name: [bytes_] for name, bytes_ in idle.items()}
        over = asyncio.Event()
        probes = [
            asyncio.create_task(probe(each, over, seconds[name], peaks[name])) for name, each in ports.items()
        ]
        attacker = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "kit.size_attacks", str(attack_s), *(str(ports[name].port) for name in _NAMES),
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
        )  # fmt: skip
        try:
            assert await asyncio.wait_for(attacker.wait(), attack_s + 60) == 0
        finally:
            over.set()
            await asyncio.gather(*probes)
        for each in ports.values():
            assert "Traceback" not in each.log.read_text(errors="replace"), each.log.read_text()[-5_000:]
        return {name: (seconds[name], max(peaks[name]) - idle[name]) for name in ports}


def p99_ms(seconds: list[float]) -> float:
    return sorted(seconds)[int(len(seconds) * 0.99)] * 1_000


async def test_all_size_attacks_at_once_leave_a_gateway_and_an_indexer_small(
    local_chain: LocalChain, database_url: str, redis_url: str, tmp_path: Path
) -> None:
    for name, (seconds, grown) in (
        await under_attack(local_chain, database_url, redis_url, tmp_path, 5)
    ).items():
        print(f"{name}: {grown / MIB:.1f} MiB, p99 {p99_ms(seconds):.1f} ms of {len(seconds)}")
        assert grown < _MOST_GROWN
        assert seconds  # each was answered within ten seconds: the client gives up after that


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_under_all_size_attacks_health_is_answered_within_100_ms(
    local_chain: LocalChain, database_url: str, redis_url: str, tmp_path: Path
) -> None:
    for name, (seconds, grown) in (
        await under_attack(local_chain, database_url, redis_url, tmp_path, 120)
    ).items():
        print(f"{name}: {grown / MIB:.1f} MiB, p99 {p99_ms(seconds):.1f} ms of {len(seconds)}")
        assert grown < _MOST_GROWN
        assert p99_ms(seconds) < 100
