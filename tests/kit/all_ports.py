"""The six services and the local stand-ins of Pinata and Helius as processes, with their ports, memory and logs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import httpx
import psutil

from kit import commands
from kit.http_servers import is_ready
from kit.providers import API_KEY, JWT
from kit.servers import LocalChain
from kit.waiting import until
from zmart.local.processes import free_port

SERVICES = {
    "gateway": "api_port", "websocket": "ws_port", "indexer": "indexer_port", "aggregator": "aggregator_port",
    "monitor": "monitor_port", "snapshots": "snapshots_port", "providers": "local_providers_port",
}  # fmt: skip
_LIMITS = ("reads", "writes", "votes", "comments", "nonce")


@dataclass
class ServicePort:
    """A running service: its name, the port that it serves, its process and its log file."""

    name: str
    port: int
    process: asyncio.subprocess.Process
    log: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def resident_bytes(self) -> int:
        return int(psutil.Process(self.process.pid).memory_info().rss)


@asynccontextmanager
async def all_ports(
    chain: LocalChain,
    database_url: str,
    redis_url: str,
    folder: Path,
    names: tuple[str, ...] = tuple(SERVICES),
    **settings: object,
) -> AsyncIterator[dict[str, ServicePort]]:
    """Start the services of `names` and yield them by name as soon as each answers /health; kill them at the end."""
    ports = {name: free_port() for name in SERVICES}
    providers = f"http://127.0.0.1:{ports['providers']}"
    environment = commands.environment(
        **{SERVICES[name]: port for name, port in ports.items()},
        zmart_home=folder / "home", database_url=database_url, redis_url=redis_url,
        solana_rpc_url=chain.rpc_url, backend_keypair_path=chain.keys.path("backend"),
        admin_keypair_path=chain.keys.path("admin"), pinata_api_url=providers, pinata_jwt=JWT,
        helius_api_url=providers, helius_api_key=API_KEY, ipfs_gateway_url=providers, log_level="warning",
        **{f"rate_limit_{name}": 1_000_000 for name in _LIMITS}, **settings,
    )  # fmt: skip
    started: dict[str, ServicePort] = {}
    try:
        for name in names:
            log = folder / f"{name}.log"
            with log.open("wb") as output:
                process = await commands.start("run", name, env=environment, stdout=output, stderr=output)
            started[name] = ServicePort(name, ports[name], process, log)
        async with httpx.AsyncClient() as http:
            for each in started.values():
                await until(partial(_serves, http, each), within_s=90)
        yield started
    finally:
        for each in started.values():
            if each.process.returncode is None:
                each.process.kill()
            await each.process.wait()


async def _serves(http: httpx.AsyncClient, service: ServicePort) -> bool:
    assert service.process.returncode is None, f"{service.name} ended: {service.log.read_text()}"
    return await is_ready(http, f"{service.url}/health")
