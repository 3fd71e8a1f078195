"""Simulated hosts on this machine: each is a network namespace, connected to a bridge, the switch.

A host can be cut off (its port leaves the bridge: packets are lost, nothing is refused), paused (SIGSTOP of all its
processes, while the kernel still accepts connections for them) and killed. The test process has an address in the
network, too, as the operator's machine.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

_BRIDGE = "switch"
_OPERATOR = 254
_AS_HOST = 'hostname "$0" && exec "$@"'


def why_not() -> str:
    """Return why no such network can be made on this machine; "" when it can."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    if shutil.which("ip") is None:
        return "the program `ip` is missing (apt install iproute2)"
    probe = f"zm{os.getpid()}-probe"
    made = subprocess.run(["ip", "netns", "add", probe], capture_output=True, text=True)
    if made.returncode:
        return f"no network namespace can be made: {made.stderr.strip()}"
    subprocess.run(["ip", "netns", "del", probe], check=True)
    return ""


def _ip(*arguments: object) -> None:
    subprocess.run(["ip", *map(str, arguments)], check=True, capture_output=True, text=True)


class NetworkHost:
    """One simulated host; its processes are those in its network namespace."""

    def __init__(self, network: Network, name: str, number: int) -> None:
        self.name = name
        self.address = network.address(number)
        self.namespace = f"{network.tag}-{name}"
        self._network = network
        self._port = f"port-{name}"
        self._started: list[subprocess.Popen[bytes]] = []

    def connect(self) -> None:
        """Make the namespace, connect it to the switch and give it its address."""
        _ip("netns", "add", self.namespace)
        switch = self._network.switch
        _ip(
            "-n",
            switch,
            "link",
            "add",
            self._port,
            "type",
            "veth",
            "peer",
            "name",
            "eth0",
            "netns",
            self.namespace,
        )
        _ip("-n", switch, "link", "set", self._port, "master", _BRIDGE, "up")
        _ip("-n", self.namespace, "address", "add", f"{self.address}/24", "dev", "eth0")
        _ip("-n", self.namespace, "link", "set", "eth0", "up")
        _ip("-n", self.namespace, "link", "set", "lo", "up")

    def start(self, command: Sequence[object], env: Mapping[str, str], log: Path) -> subprocess.Popen[bytes]:
        """Start a program in this host's network and under its host name; the output is appended to `log`."""
        inside = ["ip", "netns", "exec", self.namespace, "unshare", "--uts", "sh", "-c", _AS_HOST, self.name]
        with log.open("ab") as out:
            started = subprocess.Popen(
                [*inside, *map(str, command)], stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=env
            )
        self._started.append(started)
        return started

    def cut_off(self) -> None:
        """Disconnect the host from the switch."""
        _ip("-n", self._network.switch, "link", "set", self._port, "nomaster")

    def plug_in(self) -> None:
        _ip("-n", self._network.switch, "link", "set", self._port, "master", _BRIDGE)

    def pause(self) -> None:
        self.signal_all(signal.SIGSTOP)

    def resume(self) -> None:
        self.signal_all(signal.SIGCONT)

    def kill(self) -> None:
        """End all processes of the host by SIGKILL, as a loss of power would."""
        while self.pids():
            self.signal_all(signal.SIGKILL)
        for process in self._started:
            process.wait(10)

    def signal_all(self, which: signal.Signals) -> None:
        for pid in self.pids():
            with suppress(ProcessLookupError):
                os.kill(pid, which)

    def pids(self) -> list[int]:
        """Return the ids of all running processes of the host."""
        listed = subprocess.run(
            ["ip", "netns", "pids", self.namespace], check=True, capture_output=True, text=True
        )
        return [int(pid) for pid in listed.stdout.split()]


class Network:
    """A switch, the hosts that are connected to it, and the test process as the operator's machine."""

    def __init__(self, names: Sequence[str]) -> None:
        self.tag = f"zm{os.getpid()}"
        self.switch = f"{self.tag}-switch"
        self.subnet = f"198.18.{os.getpid() % 256}"  # from the block for benchmarks (RFC 2544)
        self.operator = self.address(_OPERATOR)
        self.hosts = {name: NetworkHost(self, name, number) for number, name in enumerate(names, 1)}

    @classmethod
    @contextmanager
    def of(cls, names: Sequence[str]) -> Iterator[Network]:
        """Make a network with hosts of these names for the block; at its end, all their processes are killed."""
        network = cls(names)
        try:
            network._make()
            yield network
        finally:
            network._remove()

    def address(self, number: int) -> str:
        return f"{self.subnet}.{number}"

    def _make(self) -> None:
        _ip("netns", "add", self.switch)
        _ip("-n", self.switch, "link", "add", _BRIDGE, "type", "bridge")
        _ip("-n", self.switch, "link", "set", _BRIDGE, "up")
        _ip("link", "add", self.tag, "type", "veth", "peer", "name", "operator", "netns", self.switch)
        _ip("-n", self.switch, "link", "set", "operator", "master", _BRIDGE, "up")
        _ip("address", "add", f"{self.operator}/24", "dev", self.tag)
        _ip("link", "set", self.tag, "up")
        for host in self.hosts.values():
            host.connect()

    def _remove(self) -> None:
        for host in self.hosts.values():
            with suppress(subprocess.CalledProcessError):
                host.kill()
            subprocess.run(["ip", "netns", "del", host.namespace], capture_output=True)
        subprocess.run(["ip", "link", "del", self.tag], capture_output=True)
        subprocess.run(["ip", "netns", "del", self.switch], capture_output=True)
