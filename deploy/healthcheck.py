"""Ask the service of this container for /health. Exit status 0: it answers, or the container serves no port.

The service is the one that process 1 runs (`zmart run SERVICE`), or the argument. The script imports no packages, since
it runs every few seconds in every container.
"""

from __future__ import annotations

import http.client
import os
import sys
from pathlib import Path

PORTS = {
    "gateway": ("API_PORT", 4000),
    "websocket": ("WS_PORT", 4001),
    "indexer": ("INDEXER_PORT", 4002),
    "aggregator": ("AGGREGATOR_PORT", 4003),
    "monitor": ("MONITOR_PORT", 4004),
    "snapshots": ("SNAPSHOTS_PORT", 4005),
}
WITHIN_S = 4


def main(arguments: list[str]) -> int:
    """Return the exit status of the check of the named service, or of the one that process 1 runs."""
    service = arguments[0] if arguments else running_service(Path("/proc/1/cmdline").read_bytes())
    if service not in PORTS:
        return 0
    return 0 if answers(port_of(service)) else 1


def running_service(command_line: bytes) -> str:
    """Return the word after `run` in a command line of /proc; "" if there is none."""
    words = command_line.decode("utf-8", "replace").split("\0")
    return words[words.index("run") + 1] if "run" in words[:-1] else ""


def port_of(service: str) -> int:
    """Return the service's port: its setting, or the default where that is no number.

    Kubernetes may set the variable to an address, NAME_PORT=tcp://...
    """
    setting, default = PORTS[service]
    value = os.environ.get(setting, "").strip()
    return int(value) if value.isdecimal() else default


def answers(port: int) -> bool:
    """Return whether /health on the port answers 200, and print the status or the error."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=WITHIN_S)
    try:
        connection.request("GET", "/health")
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as problem:
        print(f"port {port}: {problem}")
        return False
    finally:
        connection.close()
    print(f"port {port}: {status}")
    return status == 200


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
