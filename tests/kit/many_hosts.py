"""The backend on three hosts: each has two processes of each service and a PostgreSQL; one host has Redis.

One PostgreSQL is the primary, the others are its stand-bys. The chain and the stand-in for Pinata run on the operator's
machine, which no test breaks.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from kit.network_hosts import Network, NetworkHost
from kit.replicated_postgres import PORT as POSTGRES_PORT
from kit.replicated_postgres import HostPostgres
from kit.servers import LocalChain
from kit.waiting import until
from zmart.chain.program import Program
from zmart.chain.rpc import Rpc
from zmart.local.chain.genesis import prepare_chain, shipped_program
from zmart.local.chain.keys import load_keys
from zmart.local.chain.server import ChainServer
from zmart.local.child_environment import inherited
from zmart.local.environment import ONE_ADDRESS, QUICK_CRON
from zmart.local.local_secrets import load_secrets
from zmart.local.processes import free_port
from zmart.local.readiness import ReadinessReport, fetch_report
from zmart.local.valkey import Valkey
from zmart.services.contract import SERVICES
from zmart.settings import Settings, load_settings
from zmart.store import migrate

HOSTS = ("a", "b", "c")
FIRST_PORTS = (4000, 5000)
"""The lowest ports of a host's first and second process of each service; services count up from there."""
REDIS_PORT = 6379
_ZMART = (sys.executable, "-m", "zmart.cli")
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class ServiceProcess:
    """One process of a service on a host."""

    def __init__(self, host: NetworkHost, service: str, port: int) -> None:
        self.host = host
        self.service = service
        self.port = port
        self.process: subprocess.Popen[bytes] | None = None

    def __str__(self) -> str:
        return f"{self.service} {self.host.name}:{self.port}"

    @property
    def instance(self) -> str:
        """The instance name under which the current process reports its status: host:pid."""
        assert self.process is not None
        return f"{self.host.name}:{self.process.pid}"

    @property
    def at(self) -> str:
        return f"{self.host.address}:{self.port}"

    def report(self, seconds: float = 4.0) -> ReadinessReport:
        """Return the report of /ready; "not ready" when nothing answers within `seconds`."""
        return fetch_report(f"http://{self.at}/ready", seconds)

    def get(self, path: str) -> bytes:
        """Send a GET and return the body. Raises OSError when nothing answers, or not with a 2xx status."""
        with _DIRECT.open(f"http://{self.at}{path}", timeout=4) as answer:
            return answer.read()

    def metric(self, name: str, **labels: str) -> float:
        """Return the sum of a metric's samples that have these labels; 0 while nothing answers."""
        try:
            text = self.get("/metrics").decode()
        except OSError:
            return 0.0
        families = text_string_to_metric_families(text)
        samples = [sample for family in families for sample in family.samples if sample.name == name]
        return sum(sample.value for sample in samples if labels.items() <= sample.labels.items())


class ManyHosts:
    """Starts the deployment, and does what docs/operations.md tells the operator to do when a host is lost."""

    def __init__(self, network: Network, folder: Path, addon: Path) -> None:
        self.network = network
        self.hosts = network.hosts
        self.folder = folder
        self.keys = load_keys(folder / "keys")
        self.chain = ChainServer(folder / "chain", free_port(), free_port(), addon, host=network.operator)
        self.secrets = load_secrets(folder / "secrets")
        self._providers_port = free_port()
        self._providers: subprocess.Popen[bytes] | None = None
        self.valkey = Valkey(folder / "valkey", REDIS_PORT)
        self.redis_host = self.hosts["c"]
        addresses = [host.address for host in self.hosts.values()]
        first = HostPostgres(self.hosts["a"], folder / "postgres-a", addresses)
        self.postgres = {"a": first} | {
            name: HostPostgres(self.hosts[name], folder / f"postgres-{name}", addresses, first.password)
            for name in HOSTS[1:]
        }
        self.primary = "a"
        self.fail_overs = 0
        self.services = [
            ServiceProcess(host, service, base + number)
            for host in self.hosts.values()
            for base in FIRST_PORTS
            for number, service in enumerate(SERVICES)
        ]

    @classmethod
    @asynccontextmanager
    async def running(cls, folder: Path, addon: Path) -> AsyncIterator[ManyHosts]:
        """Run the whole deployment within the block; yield it when every process is ready."""
        with Network.of(HOSTS) as network:
            deployment = cls(network, folder, addon)
            try:
                await deployment._start()
                yield deployment
            finally:
                deployment._stop()

    @property
    def database_url(self) -> str:
        """The services' DATABASE_URL, which names all three hosts; the driver connects to the primary."""
        hosts = ",".join(f"{host.address}:{POSTGRES_PORT}" for host in self.hosts.values())
        return f"postgresql://zmart:{self.postgres['a'].password}@{hosts}/zmart"

    @property
    def environment(self) -> dict[str, str]:
        """The environment variables that the services of all hosts share."""
        elsewhere = f"http://{self.network.operator}:{self._providers_port}"
        return {
            **inherited(),
            "ZMART_ENV": "local", "ZMART_ENV_FILE": os.devnull, "PYTHONUNBUFFERED": "1",
            "DATABASE_URL": self.database_url, "DATABASE_POOL_SIZE": "4",
            "REDIS_URL": f"redis://:{self.valkey.password}@{self.redis_host.address}:{REDIS_PORT}/0",
            "SOLANA_RPC_URL": self.chain.rpc_url, "SOLANA_WS_URL": self.chain.ws_url,
            "BACKEND_KEYPAIR_PATH": str(self.keys.path("backend")), "ADMIN_KEYPAIR_PATH": str(self.keys.path("admin")),
            "AGGREGATOR_CRON": QUICK_CRON, "MONITOR_CRON": QUICK_CRON, "INDEXER_SCAN_INTERVAL_S": "1",
            "PINATA_API_URL": elsewhere, "IPFS_GATEWAY_URL": elsewhere, "PINATA_JWT": self.secrets.pinata_jwt,
            "OPERATOR_TOKEN": self.secrets.operator_token, "AUTH_TOKEN_SECRET": self.secrets.auth_token_secret,
            "HELIUS_WEBHOOK_SECRET": self.secrets.helius_webhook_secret,
            **{f"RATE_LIMIT_{policy}": ONE_ADDRESS for policy in ("READS", "WRITES", "VOTES", "COMMENTS", "NONCE")},
        }  # fmt: skip

    @property
    def settings(self) -> Settings:
        """The settings of a client on the operator's machine."""
        given = {name.lower(): value for name, value in self.environment.items()}
        known = {name: value for name, value in given.items() if name in Settings.model_fields}
        return load_settings(_env_file=None, zmart_home=self.folder / "operator", **known)

    @property
    def local_chain(self) -> LocalChain:
        return LocalChain(self.chain, self.keys, Program.from_settings(self.settings))

    def of(self, service: str, *, but: str = "") -> list[ServiceProcess]:
        """Return the processes of a service on all hosts, except on the host `but`."""
        return [each for each in self.services if each.service == service and each.host.name != but]

    def surviving(self, lost: str) -> list[ServiceProcess]:
        return [each for each in self.services if each.host.name != lost]

    async def unready(self, processes: list[ServiceProcess]) -> list[str]:
        """Return "process: reason" for each of the processes that is not ready."""
        reports = await asyncio.gather(*(asyncio.to_thread(each.report) for each in processes))
        return [
            f"{each}: {report.reason}"
            for each, report in zip(processes, reports, strict=True)
            if not report.ready
        ]

    def ended(self) -> list[str]:
        """Return the names of the started processes that have ended, for whatever reason."""
        return [
            str(each)
            for each in self.services
            if each.process is not None and each.process.poll() is not None
        ]

    async def status(self, gateway: ServiceProcess) -> Mapping[str, object]:
        """Return the JSON object of /api/status of a gateway."""
        shown: Mapping[str, object] = json.loads(await asyncio.to_thread(gateway.get, "/api/status"))
        return shown

    async def fail_over(self) -> None:
        """Kill the primary and promote the stand-by that has received the most of its log.

        This is what docs/operations.md says under "When the host of PostgreSQL is lost".
        """
        self.postgres[self.primary].kill()  # it must not come back as a primary
        others = [name for name in HOSTS if name != self.primary]
        received = {name: await self.postgres[name].received() for name in others}
        self.primary = max(others, key=lambda name: received[name])
        await self.postgres[self.primary].promote()
        self.fail_overs += 1

    async def follow_again(self, name: str) -> None:
        """Make the PostgreSQL of a host that is back a stand-by, with a fresh copy of the primary."""
        await self.postgres[name].follow(self.postgres[self.primary])

    async def boot(self, name: str) -> None:
        """Start what starts with a host, except PostgreSQL: its services, and Redis if the host has it."""
        if name == self.redis_host.name:
            self._start_redis()
        for each in self.services:
            if each.host.name == name:
                self._start_service(each)

    async def _start(self) -> None:
        await asyncio.to_thread(self.chain.start)
        async with Rpc([self.chain.rpc_url]) as rpc:
            await prepare_chain(rpc, Program.from_settings(self.settings), self.keys, shipped_program())
        self._start_providers()
        first = self.postgres["a"]
        await first.create()
        await asyncio.to_thread(migrate.upgrade, first.url())
        await first.wait_for_a_stand_by(list(HOSTS))
        await asyncio.gather(*(self.follow_again(name) for name in HOSTS[1:]))
        await until(first.followers, lambda number: number == 2)
        for name in HOSTS:
            await self.boot(name)
        await until(lambda: self.unready(self.services), lambda reasons: not reasons, within_s=240, every_s=1)

    def _start_providers(self) -> None:
        given = {"LOCAL_BIND_HOST": self.network.operator, "LOCAL_PROVIDERS_PORT": str(self._providers_port)}
        with (self.folder / "providers.log").open("ab") as log:
            self._providers = subprocess.Popen(
                [*_ZMART, "run", "providers"], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                env={**self.environment, **given, "ZMART_HOME": str(self.folder / "providers")},
            )  # fmt: skip

    def _start_redis(self) -> None:
        self.valkey.prepare()
        command = [self.valkey.binary, self.valkey.folder / "valkey.conf", "--bind", self.redis_host.address]
        self.redis_host.start(command, inherited(), self.valkey.log)

    def _start_service(self, each: ServiceProcess) -> None:
        given = {
            "BIND_HOST": each.host.address,
            SERVICES[each.service].upper(): str(each.port),
            "ZMART_HOME": str(self.folder / f"home-{each.host.name}-{each.port}"),
        }
        command = [*_ZMART, "run", each.service]
        each.process = each.host.start(command, {**self.environment, **given}, self.log_of(each))

    def log_of(self, each: ServiceProcess) -> Path:
        """Return the path of a service's log, which all processes that were started for it share."""
        return self.folder / f"{each.host.name}-{each.port}-{each.service}.log"

    def _stop(self) -> None:
        for host in self.hosts.values():
            host.kill()
        for each in self.services:
            if each.process is not None:
                each.process.wait(10)
        if self._providers is not None:
            self._providers.kill()
            self._providers.wait(10)
        self.chain.stop()
