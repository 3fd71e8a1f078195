"""W14: tests of scheduled services as processes: a read-only or busy database ends none of them."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest

from kit.database_conditions import DatabaseConditions
from kit.decisions import Scene
from kit.waiting import until
from zmart.local.processes import free_port

READ_ONLY = "default_transaction_read_only"
EVERY_SECOND = "* * * * * *"
PORTS = {"aggregator": "AGGREGATOR_PORT", "monitor": "MONITOR_PORT", "snapshots": "SNAPSHOTS_PORT"}
LOCKED = {"aggregator": "market_work", "monitor": "market_work", "snapshots": "ipfs_anchors"}
"""The table that each service reads at every tick."""


@asynccontextmanager
async def running_process(scene: Scene, name: str) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    """Start `zmart run NAME` as a process; yield the process and its address."""
    port = free_port()
    settings = scene.settings
    environment = {
        **os.environ, "ZMART_ENV": "local", "ZMART_ENV_FILE": os.devnull, PORTS[name]: str(port),
        "DATABASE_URL": settings.require("database_url"), "SOLANA_RPC_URL": settings.solana_rpc_url,
        "BACKEND_KEYPAIR_PATH": str(settings.backend_keypair_path),
        "ADMIN_KEYPAIR_PATH": str(settings.admin_keypair_path),
        "AGGREGATOR_CRON": EVERY_SECOND, "MONITOR_CRON": EVERY_SECOND, "SNAPSHOTS_CRON": EVERY_SECOND,
        "PINATA_JWT": "a-jwt", "PINATA_API_URL": "http://127.0.0.1:9", "IPFS_GATEWAY_URL": "http://127.0.0.1:9",
        "LOG_LEVEL": "error",
    }  # fmt: skip
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "zmart.cli", "run", name, env=environment
    )
    try:
        yield process, f"http://127.0.0.1:{port}"
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGKILL)
        await process.wait()


async def readiness_of(http: httpx.AsyncClient, url: str) -> tuple[int, str]:
    """Return status and reason of /ready; (0, "") while nothing listens."""
    try:
        answer = await http.get(f"{url}/ready")
    except httpx.TransportError:
        return 0, ""
    return answer.status_code, answer.json()["reason"]


@pytest.mark.parametrize("name", PORTS)
async def test_a_service_that_acts_by_a_schedule_waits_through_every_condition(
    scene: Scene, database_url: str, name: str
) -> None:
    conditions = DatabaseConditions(database_url)
    await conditions.set(READ_ONLY, "on")
    async with running_process(scene, name) as (process, url), httpx.AsyncClient() as http:

        async def is_ready() -> bool:
            assert process.returncode is None, "it ended"
            return await readiness_of(http, url) == (200, "")

        async def is_refused(words: str) -> bool:
            assert process.returncode is None, "it ended"
            status, reason = await readiness_of(http, url)
            return status == 503 and words in reason

        await until(lambda: is_refused("accepts no writes"), within_s=60)
        await conditions.reset(READ_ONLY)
        await until(is_ready)
        await conditions.set(READ_ONLY, "on")
        await until(lambda: is_refused("accepts no writes"))
        await conditions.reset(READ_ONLY)
        await until(is_ready)
        await conditions.set("lock_timeout", "100ms")
        async with conditions.locked(LOCKED[name]):
            await until(lambda: is_refused("busy"))
        await until(is_ready)
        await conditions.cut()
        await until(is_ready)
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 20) == 0
