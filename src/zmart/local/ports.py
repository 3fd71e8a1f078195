"""Choose the port of each part of the local stack: the setting's, the last start's, the default, or a free one."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping

from zmart.errors import ConfigError
from zmart.local.processes import free_port, port_is_free
from zmart.settings import Settings

NAMES = (
    "api_port",
    "ws_port",
    "indexer_port",
    "aggregator_port",
    "monitor_port",
    "snapshots_port",
    "local_providers_port",
    "local_chain_rpc_port",
    "local_chain_ws_port",
    "local_postgres_port",
    "local_redis_port",
)


def choose_ports(
    settings: Settings,
    last: Mapping[str, int],
    say: Callable[[str], None],
    names: tuple[str, ...] = NAMES,
) -> dict[str, int]:
    """Return a port for each setting in `names`; `last` holds the ports of the last start.

    A port that the user has set is never replaced: ConfigError is raised if it is in use. `say` gets a sentence for
    each port that replaces a default in use. A setting of 0 stands for any free port.
    """
    chosen: dict[str, int] = {}
    for name in names:
        chosen[name] = _choose(name, settings, last.get(name, 0), say, taken=set(chosen.values()))
    return chosen


def _choose(name: str, settings: Settings, last: int, say: Callable[[str], None], taken: set[int]) -> int:
    default: int = getattr(settings, name)

    def is_free(port: int) -> bool:
        return port not in taken and port_is_free(port)

    if name in settings.model_fields_set and default:
        if not is_free(default):
            raise ConfigError(
                f"{name.upper()} is {default}, which {holder(default)} uses: stop it or set another port."
            )
        return default
    if last and is_free(last):
        return last
    if default and is_free(default):
        return default
    port = free_port()
    while port in taken:
        port = free_port()
    if default:
        say(f"Port {default} is in use by {holder(default)}: using {port} for {name.upper()}.")
    return port


def holder(port: int) -> str:
    """Return name and pid of the process that listens on a port; "another program" if we may not see it."""
    import psutil  # part of the extra `local`; `zmart doctor` also runs without it

    with contextlib.suppress(psutil.Error):
        for connection in psutil.net_connections("tcp"):
            here = connection.laddr[1:2] == (port,) and connection.status == psutil.CONN_LISTEN
            if here and connection.pid:
                return f"{psutil.Process(connection.pid).name()} (pid {connection.pid})"
    return "another program"
