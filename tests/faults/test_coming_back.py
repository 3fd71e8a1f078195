"""The six services as processes behind proxies that refuse, cut and hang connections.

No service ends, and all are ready within seconds after the last fault.
"""

from __future__ import annotations

import asyncio
import random
import signal
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import httpx
import pytest

from kit import commands
from kit.machine_time import machine_time, seconds_since
from kit.servers import LocalChain
from kit.tcp_proxy import TcpProxy
from kit.waiting import until
from zmart.local.processes import free_port
from zmart.services.contract import SERVICES

READY_WITHIN_S = 6.0
"""Seconds to readiness after a fault: a retry every second or two, three more for a connection begun in the fault."""
ANSWER_WITHIN_S = 2.5
GIVEN_UP_AFTER_S = 60


@dataclass
class Backend:
    """The six services, and the proxies before their database, Redis and RPC."""

    proxies: dict[str, TcpProxy]
    ports: dict[str, int]
    processes: dict[str, asyncio.subprocess.Process]
    http: httpx.AsyncClient

    async def unready(self) -> dict[str, str]:
        """Return the reasons of the services that are not ready, by service."""
        reasons = await asyncio.gather(*(self._reason(name) for name in SERVICES))
        return {name: reason for name, reason in zip(SERVICES, reasons, strict=True) if reason}

    async def _reason(self, name: str) -> str:
        process = self.processes[name]
        assert process.returncode is None, f"the {name} ended with status {process.returncode}"
        try:
            answer = await self.http.get(f"http://127.0.0.1:{self.ports[name]}/ready")
        except httpx.TransportError as problem:
            return f"no answer ({type(problem).__name__})"
        return "" if answer.status_code == 200 else str(answer.json()["reason"])

    async def slowest_answer_s(self) -> float:
        """Return the seconds that a read of the gateway takes; its status must be 200 or 503."""
        began = machine_time()
        answer = await self.http.get(f"http://127.0.0.1:{self.ports['gateway']}/api/markets")
        assert answer.status_code in (200, 503), answer.text
        return seconds_since(began)

    async def survive(self, server: str, how: str, seconds: float) -> tuple[float, str]:
        """Apply a fault for some seconds while the gateway must answer in time.

        Return the seconds that the services took to be ready after the fault, and the last reasons why they were not.
        """
        proxy = self.proxies[server]
        getattr(proxy, how)()
        over_at = time.monotonic() + seconds
        while time.monotonic() < over_at:
            assert await self.slowest_answer_s() < ANSWER_WITHIN_S, (server, how)
            await asyncio.sleep(0.5)
        await proxy.restore()
        began, waited_for = machine_time(), {}
        while unready := await self.unready():
            waited_for = unready
            assert seconds_since(began) < GIVEN_UP_AFTER_S, unready
            await asyncio.sleep(0.1)
        return seconds_since(began), str(waited_for)


@pytest.fixture
def own_ports() -> dict[str, int]:
    return {name: free_port() for name in SERVICES}


@asynccontextmanager
async def backend(
    database_url: str, redis_url: str, chain: LocalChain, ports: dict[str, int]
) -> AsyncIterator[Backend]:
    async with AsyncExitStack() as stack:
        urls = {"database": database_url, "redis": redis_url, "rpc": chain.rpc_url}
        proxies = {name: await stack.enter_async_context(TcpProxy.before(url)) for name, url in urls.items()}
        environment = commands.environment(
            database_url=proxies["database"].url, redis_url=proxies["redis"].url,
            solana_rpc_url=proxies["rpc"].url, solana_ws_url=chain.ws_url,
            backend_keypair_path=chain.keys.path("backend"), admin_keypair_path=chain.keys.path("admin"),
            aggregator_cron="* * * * * */5", monitor_cron="* * * * * */5", pinata_jwt="a-jwt",
            pinata_api_url="http://127.0.0.1:9", ipfs_gateway_url="http://127.0.0.1:9", log_level="error",
            **{setting: ports[name] for name, setting in SERVICES.items()},
        )  # fmt: skip
        processes = {name: await commands.start("run", name, env=environment) for name in SERVICES}
        try:
            http = await stack.enter_async_context(httpx.AsyncClient(timeout=10))
            here = Backend(proxies, ports, processes, http)
            await until(here.unready, lambda unready: not unready, within_s=90, every_s=0.2)
            yield here
        finally:
            for process in processes.values():
                if process.returncode is None:
                    process.send_signal(signal.SIGKILL)
            await asyncio.gather(*(process.wait() for process in processes.values()))


async def test_the_services_are_ready_within_seconds_after_each_fault_of_their_database(
    database_url: str, redis_url: str, local_chain: LocalChain, own_ports: dict[str, int]
) -> None:
    """C5-C8, C17, C20: connections are refused, hang, hang only if they are old, or are cut."""
    async with backend(database_url, redis_url, local_chain, own_ports) as here:
        took = {
            how: await here.survive("database", how, seconds)
            for how, seconds in (("refuse", 8), ("hang", 8), ("hang_old", 6), ("cut", 1))
        }
        assert max(seconds for seconds, _ in took.values()) < READY_WITHIN_S, took


@pytest.mark.slow
@pytest.mark.timeout(1_200)
@pytest.mark.parametrize("seed", [1, 2])
async def test_whatever_is_unavailable_and_for_how_long_the_services_come_back(
    database_url: str, redis_url: str, local_chain: LocalChain, own_ports: dict[str, int], seed: int
) -> None:
    """C5-C11, C17-C20: faults of database, Redis and RPC of up to 40 s each, drawn from a seed."""
    chance = random.Random(seed)
    async with backend(database_url, redis_url, local_chain, own_ports) as here:
        took = {}
        for number in range(10):
            server, how = (
                chance.choice(list(here.proxies)),
                chance.choice(["refuse", "hang", "hang_old", "cut"]),
            )
            seconds = chance.choice([1, 5, 12, 40])
            took[number, server, how, seconds] = await here.survive(server, how, seconds)
        print(took)
        assert max(seconds for seconds, _ in took.values()) < READY_WITHIN_S, took
