"""The local stack as a plan: which processes, in which order, on which ports, with which settings.

Nothing is started here: `bring_up` does that from a plan, and the commands look at what runs through one.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from zmart.local.addresses import stack_file
from zmart.local.chain.server import Chain
from zmart.local.environment import Parts, environment, parts_of
from zmart.local.local_secrets import load_secrets
from zmart.local.ports import NAMES, choose_ports
from zmart.local.postgres import Postgres
from zmart.local.processes import launched, private_folder
from zmart.local.state_files import write_state
from zmart.local.supervision import Program, Supervisor
from zmart.local.valkey import Valkey
from zmart.ops.host import SERVICES
from zmart.settings import Settings

SERVICE_GROUP = "services"
KEPT_BY_FRESH = {"node"}


class StackRecord(msgspec.Struct, frozen=True, kw_only=True):
    """ZMART_HOME/run/stack.json: where everything is, for the other commands and for the next start."""

    environment: dict[str, str]
    ports: dict[str, int]
    addresses: dict[str, str]
    ready_paths: dict[str, str]
    started_at: float


class Stack:
    """The stack of one ZMART_HOME with its ports chosen. `servers` that settings name elsewhere are None."""

    def __init__(self, settings: Settings, say: Callable[[str], None] = lambda sentence: None) -> None:
        self.settings = settings
        self.home = private_folder(settings.zmart_home).resolve()
        self.parts: Parts = parts_of(settings)
        self.secrets = load_secrets(self.home / "keys")
        last = read_record(self.home)
        self.ports = choose_ports(settings, last.ports if last else {}, say, self._port_names())
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

    def _port_names(self) -> tuple[str, ...]:
        unused = {
            name
            for name, is_used in (
                ("postgres_port", self.parts.postgres),
                ("redis_port", self.parts.valkey),
                ("chain_rpc_port", self.parts.chain),
                ("chain_ws_port", self.parts.chain),
                ("providers_port", self.parts.providers),
            )
            if not is_used
        }
        return tuple(name for name in NAMES if name not in unused)

    def _postgres(self) -> Postgres:
        return Postgres(self.home / "postgres", self.ports["postgres_port"], self.settings.postgres_bin_dir)

    def _valkey(self) -> Valkey:
        return Valkey(self.home / "valkey", self.ports["redis_port"], self.settings.valkey_bin)

    def _chain(self) -> Chain:
        ports = self.ports["chain_rpc_port"], self.ports["chain_ws_port"]
        return Chain(
            self.home / "chain",
            *ports,
            addon_folder(self.settings),
            self.settings.node_bin,
            self.settings.chain_slot_ms,
        )

    @property
    def supervisor(self) -> Supervisor:
        return supervisor_of(self.home)

    def programs(self) -> list[Program]:
        """Every process in the order of starting; the reverse is the order of stopping."""
        return [*self.servers(), *(_python(name, SERVICE_GROUP, "run", name) for name in SERVICES)]

    def servers(self) -> list[Program]:
        """What the services stand on."""
        found: list[Program] = []
        if self.postgres is not None:
            # Its children are in process groups of their own and end with it.
            found.append(_server("postgres", self.postgres.command(), "INT", as_group=False))
        if self.valkey is not None:
            found.append(_server("valkey", self.valkey.command()))
        if self.chain is not None:
            found.append(_server("chain", self.chain.command()))
        if self.parts.providers:
            found.append(_python("providers", "providers", "run", "providers"))
        return found

    def record(self) -> None:
        """Write stack.json."""
        record = StackRecord(
            environment=self.environment,
            ports=self.ports,
            addresses=self.addresses(),
            ready_paths=self.ready_urls(),
            started_at=time.time(),
        )
        private_folder(stack_file(self.home).parent)
        write_state(stack_file(self.home), msgspec.json.format(msgspec.json.encode(record)).decode())

    def addresses(self) -> dict[str, str]:
        """What a person or a program may want to open, without secrets."""
        host = reachable_host(self.settings)
        api = f"http://{host}:{self.ports['api_port']}"
        found = {
            "explorer": f"{api}/",
            "API": f"{api}/api",
            "API reference": f"{api}/docs",
            "dashboard": f"{api}/dashboard",
            "WebSocket": f"ws://{host}:{self.ports['ws_port']}",
        }
        if self.chain is not None:
            found |= {"Solana RPC": self.chain.rpc_url, "Solana WebSocket": self.chain.ws_url}
        if self.parts.pinata:
            found["IPFS gateway"] = f"http://127.0.0.1:{self.ports['providers_port']}/ipfs/"
        if self.postgres is not None:
            found["PostgreSQL"] = f"postgresql://zmart@127.0.0.1:{self.ports['postgres_port']}/zmart"
        if self.valkey is not None:
            found["Redis"] = f"redis://127.0.0.1:{self.ports['redis_port']}/0"
        return found

    def ready_urls(self) -> dict[str, str]:
        """Where each of the six says whether it is ready."""
        host = reachable_host(self.settings)
        return {name: f"http://{host}:{self.ports[port]}/ready" for name, port in SERVICES.items()}


def erase_home(settings: Settings) -> None:
    """Forget all data, logs and keys of this home, whatever state they are in; what was installed stays."""
    home = private_folder(settings.zmart_home).resolve()
    if (home / "postgres").exists():
        Postgres(home / "postgres", settings.postgres_port, settings.postgres_bin_dir).erase()
    for path in home.iterdir():
        if path.name in KEPT_BY_FRESH:
            continue
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def supervisor_of(home: Path) -> Supervisor:
    """The supervisord of the stack in `home`, running or not."""
    return Supervisor(home / "run", home / "logs")


def addon_folder(settings: Settings) -> Path:
    """Where `zmart setup` installs the local chain's addon."""
    return settings.zmart_home / "node"


def read_record(home: Path) -> StackRecord | None:
    """stack.json, if a stack ever started here and this version understands it."""
    path = stack_file(home)
    try:
        return msgspec.json.decode(path.read_bytes(), type=StackRecord)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        return None


def reachable_host(settings: Settings) -> str:
    """The host under which this machine reaches services that listen on BIND_HOST."""
    everywhere = settings.bind_host in ("0.0.0.0", "::", "127.0.0.1", "localhost")
    return "127.0.0.1" if everywhere else settings.bind_host


def _server(name: str, command: list[str], stop_signal: str = "TERM", *, as_group: bool = True) -> Program:
    return Program(
        name=name, group=name, command=tuple(command), stop_signal=stop_signal, stop_as_group=as_group
    )


def _python(name: str, group: str, *arguments: str) -> Program:
    command = launched([sys.executable, "-m", "zmart.cli", *arguments], die_with_parent=signal.SIGTERM)
    return Program(name=name, group=group, command=tuple(command), start_seconds=5)


def _effective(settings: Settings, given: dict[str, str]) -> Settings:
    """The settings as the services will read them."""
    from zmart.settings import load_settings

    names = {name.lower(): value for name, value in given.items() if name.lower() in Settings.model_fields}
    own = {name: getattr(settings, name) for name in settings.model_fields_set}
    return load_settings(**{**own, **names})


def process_environment(stack: Stack) -> dict[str, str]:
    """The environment of every process of the stack."""
    plain = {"PYTHONUNBUFFERED": "1", "TYPER_STANDARD_TRACEBACK": "1"}  # logs, not terminals
    return {**os.environ, **stack.environment, **plain}
