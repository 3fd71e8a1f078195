"""Plan the local stack: its processes in their order, their ports, and their settings.

This module starts nothing: `startup` starts a planned stack, and commands read the record of a running one.
"""

from __future__ import annotations

import shutil
import signal
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from zmart.local import held_decisions
from zmart.local.addresses import stack_file
from zmart.local.chain.server import ChainServer
from zmart.local.child_environment import inherited
from zmart.local.environment import EmbeddedParts, environment, parts_of
from zmart.local.local_secrets import load_secrets
from zmart.local.ports import NAMES, choose_ports
from zmart.local.postgres import Postgres
from zmart.local.processes import private_folder, start_command
from zmart.local.state_files import write_state
from zmart.local.supervision import ANSWER_SECONDS, SupervisedProgram, Supervisor
from zmart.local.valkey import Valkey
from zmart.market.json_input import JSON_ERRORS
from zmart.services.contract import SERVICES
from zmart.setting_values import reachable
from zmart.settings import Settings

SERVICE_GROUP = "services"
DELETED_BY_FRESH = (
    *("postgres", "valkey", "chain", "pins", "webhooks", "keys", "logs", "run"),
    *("releases", "releases.json"),
)
"""What `zmart up --fresh` deletes in ZMART_HOME: what a stack makes, without the chain's addon and backups."""


class StackRecord(msgspec.Struct, frozen=True, kw_only=True):
    """The content of ZMART_HOME/run/stack.json, which other commands and the next start read.

    `environment` holds the services' settings, `addresses` the URLs for users, `ready_paths` the URLs of `ready_urls`,
    and `page_settings` the settings of a front end. `started_at` is in Unix seconds.
    """

    environment: dict[str, str]
    ports: dict[str, int]
    addresses: dict[str, str]
    ready_paths: dict[str, str]
    started_at: float
    page_settings: dict[str, str] = {}


class LocalStack:
    """The plan of the stack in one ZMART_HOME, with all ports chosen. `say` gets sentences about replaced ports.

    `ports` are those of a running stack, which are used instead of free ones. `postgres`, `valkey` and `chain` are None
    if the settings name such a server elsewhere. Raises ConfigError.
    """

    def __init__(
        self,
        settings: Settings,
        say: Callable[[str], None] = lambda sentence: None,
        ports: Mapping[str, int] | None = None,
    ) -> None:
        self.settings = settings
        self.home = private_folder(settings.zmart_home).resolve()
        self.parts: EmbeddedParts = parts_of(settings)
        self.secrets = load_secrets(self.home / "keys")
        self.ports = (
            self._free_ports(say)
            if ports is None
            else {name: ports.get(name, 0) for name in self._port_names()}
        )
        self.postgres = self._postgres() if self.parts.postgres else None
        self.valkey = self._valkey() if self.parts.valkey else None
        self.chain = self._chain() if self.parts.chain else None
        self.environment = environment(
            settings,
            self.parts,
            self.ports,
            self.secrets,
            database_url=self.postgres.url() if self.postgres else "",
            redis_url=self.valkey.url() if self.valkey else "",
        )
        self.effective = _effective(settings, self.environment)

    def _free_ports(self, say: Callable[[str], None]) -> dict[str, int]:
        last = read_record(self.home)
        return choose_ports(self.settings, last.ports if last else {}, say, self._port_names())

    def _port_names(self) -> tuple[str, ...]:
        unused = {
            name
            for name, is_used in (
                ("local_postgres_port", self.parts.postgres),
                ("local_redis_port", self.parts.valkey),
                ("local_chain_rpc_port", self.parts.chain),
                ("local_chain_ws_port", self.parts.chain),
                ("local_providers_port", self.parts.providers),
            )
            if not is_used
        }
        return tuple(name for name in NAMES if name not in unused)

    def _postgres(self) -> Postgres:
        return Postgres(
            self.home / "postgres", self.ports["local_postgres_port"], self.settings.local_postgres_bin_dir
        )

    def _valkey(self) -> Valkey:
        return Valkey(self.home / "valkey", self.ports["local_redis_port"], self.settings.local_valkey_bin)

    def _chain(self) -> ChainServer:
        ports = self.ports["local_chain_rpc_port"], self.ports["local_chain_ws_port"]
        return ChainServer(
            self.home / "chain",
            *ports,
            addon_folder(self.settings),
            self.settings.local_node_bin,
            self.settings.local_chain_slot_ms,
            self.settings.local_bind_host,
            self.settings.local_chain_growth_mib,
        )

    def programs(self) -> list[SupervisedProgram]:
        """Return every process in the order of the start; they stop in the reverse order."""
        return [*self.servers(), *(_python(name, SERVICE_GROUP, "run", name) for name in SERVICES)]

    def servers(self) -> list[SupervisedProgram]:
        """Return the embedded servers that the services need, and the stand-ins for Pinata and Helius."""
        programs: list[SupervisedProgram] = []
        if self.postgres is not None:
            # PostgreSQL's child processes are in process groups of their own, and end with the server.
            programs.append(_server("postgres", self.postgres.command(), "INT", as_group=False))
        if self.valkey is not None:
            programs.append(_server("valkey", self.valkey.command()))
        if self.chain is not None:
            programs.append(_server("chain", self.chain.command()))
        if self.parts.providers:
            programs.append(_python("providers", "providers", "run", "providers"))
        return programs

    def record(self, started_at: float | None = None) -> None:
        """Write stack.json; the stack was started at `started_at`, in Unix seconds, or now. Raises StoreError."""
        record = StackRecord(
            environment=self.environment,
            ports=self.ports,
            addresses=self.addresses(),
            page_settings=self.page_settings(),
            ready_paths=self.ready_urls(),
            started_at=time.time() if started_at is None else started_at,
        )
        private_folder(stack_file(self.home).parent)
        write_state(stack_file(self.home), msgspec.json.format(msgspec.json.encode(record)).decode())

    def addresses(self) -> dict[str, str]:
        """Return the URLs of the stack's parts by name, without passwords."""
        host = reachable_host(self.settings)
        api = f"http://{host}:{self.ports['api_port']}"
        addresses = {
            "explorer": f"{api}/",
            "API": f"{api}/api",
            "API reference": f"{api}/docs",
            "dashboard": f"{api}/dashboard",
            "WebSocket": f"ws://{host}:{self.ports['ws_port']}",
        }
        if self.chain is not None:
            addresses |= {"Solana RPC": self.chain.rpc_url, "Solana WebSocket": self.chain.ws_url}
        if self.parts.pinata:
            addresses["IPFS gateway"] = f"http://127.0.0.1:{self.ports['local_providers_port']}/ipfs/"
        if self.postgres is not None:
            addresses["PostgreSQL"] = (
                f"postgresql://zmart@127.0.0.1:{self.ports['local_postgres_port']}/zmart"
            )
        if self.valkey is not None:
            addresses["Redis"] = f"redis://127.0.0.1:{self.ports['local_redis_port']}/0"
        return addresses

    def page_settings(self) -> dict[str, str]:
        """Return the settings of a front end for this stack, with the names of the former backend's front end."""
        addresses = self.addresses()
        gateway = addresses["explorer"].rstrip("/")
        facade = {"NEXT_PUBLIC_SUPABASE_URL": gateway, "NEXT_PUBLIC_SUPABASE_ANON_KEY": "any"}
        rpc_urls = [self.chain.rpc_url] if self.chain is not None else self.effective.rpc_urls
        return {
            "NEXT_PUBLIC_API_URL": gateway,
            "NEXT_PUBLIC_WS_URL": addresses["WebSocket"],
            "NEXT_PUBLIC_SOLANA_RPC_URL": rpc_urls[0],
            "NEXT_PUBLIC_SOLANA_NETWORK": "localnet" if self.chain is not None else "devnet",
            "NEXT_PUBLIC_PROGRAM_ID": self.effective.solana_program_id_core,
            **(facade if self.effective.supabase_facade else {}),
        }

    def ready_urls(self) -> dict[str, str]:
        """Return the URL that reports each service's readiness: /ready, or /health of the stand-ins for providers."""
        host = reachable_host(self.settings)
        urls = {name: f"http://{host}:{self.ports[port]}/ready" for name, port in SERVICES.items()}
        if self.parts.providers:
            urls["providers"] = f"http://127.0.0.1:{self.ports['local_providers_port']}/health"
        return urls


def erase_home(settings: Settings) -> None:
    """Delete a stack's data, logs and keys in ZMART_HOME (DELETED_BY_FRESH), even damaged ones.

    Nothing else is deleted: ZMART_HOME may be a folder that holds other files, too.
    """
    home = private_folder(settings.zmart_home).resolve()
    if (home / "postgres").exists():
        Postgres(home / "postgres", settings.local_postgres_port, settings.local_postgres_bin_dir).erase()
    for path in (home / name for name in DELETED_BY_FRESH):
        if path.is_dir():
            shutil.rmtree(path.resolve())  # it may be a link to another disk
        if not path.is_dir() or path.is_symlink():
            path.unlink(missing_ok=True)
    if parts_of(settings).postgres:  # a restored database elsewhere is not deleted
        held_decisions.release(home)


def supervisor_of(home: Path, answer_s: float = ANSWER_SECONDS) -> Supervisor:
    """Return an interface to the supervisord of the stack in `home`, whether it runs or not.

    Its calls wait `answer_s` seconds for an answer.
    """
    return Supervisor(home / "run", home / "logs", answer_s)


def addon_folder(settings: Settings) -> Path:
    """Return the folder into which `zmart setup` installs the local chain's addon."""
    return settings.zmart_home / "node"


def read_record(home: Path) -> StackRecord | None:
    """Return the content of stack.json in `home`; None if it is missing, unreadable, or written by another version."""
    path = stack_file(home)
    try:
        return msgspec.json.decode(path.read_bytes(), type=StackRecord)
    except (*JSON_ERRORS, OSError):
        return None


def reachable_host(settings: Settings) -> str:
    """Return the host for URLs at which this machine reaches services that listen on BIND_HOST."""
    return reachable(settings.bind_host)


def _server(
    name: str, command: list[str], stop_signal: str = "TERM", *, as_group: bool = True
) -> SupervisedProgram:
    return SupervisedProgram(
        name=name, group=name, command=tuple(command), stop_signal=stop_signal, stop_as_group=as_group
    )


def _python(name: str, group: str, *arguments: str) -> SupervisedProgram:
    command = start_command([sys.executable, "-m", "zmart.cli", *arguments], die_with_parent=signal.SIGTERM)
    return SupervisedProgram(name=name, group=group, command=tuple(command), start_seconds=5)


def _effective(settings: Settings, given: dict[str, str]) -> Settings:
    """Return the settings that the services read: those of the user, completed by the stack's environment."""
    from zmart.settings import load_settings

    names = {name.lower(): value for name, value in given.items() if name.lower() in Settings.model_fields}
    own = {name: getattr(settings, name) for name in settings.model_fields_set}
    return load_settings(**{**own, **names})


def process_environment(stack: LocalStack) -> dict[str, str]:
    """Return the environment that every process of the stack gets."""
    plain = {"PYTHONUNBUFFERED": "1", "TYPER_STANDARD_TRACEBACK": "1"}  # logs, not terminals
    return {**inherited(with_libpq=stack.postgres is None), **stack.environment, **plain}
