"""A gateway and a socket server behind Caddy fall silent without closing connections: no read of a client fails.

Each of two hosts has a gateway and a socket server; the first one also has Caddy, with the Caddyfile of deploy/. The
hosts are network namespaces, the servers are stand-ins that answer with the name of their host.
"""

from __future__ import annotations

import os
import re
import ssl
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
from compose_stack import HOST
from websockets.sync.client import connect

from kit import network_hosts
from kit.containers import ROOT
from kit.installed import missing, program
from kit.network_hosts import Network
from kit.waiting import wait_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

_READ_WITHIN_S = 8.0
"""Seconds for a read: it may meet a silent gateway (3 s) twice before Caddy leaves it out, on a busy machine."""
_SILENT_FOR_S = 10.0
_SNI = {"sni_hostname": HOST}
_SERVER = Path(__file__).parent / "answering_server.py"


@dataclass
class Site:
    """The network with both hosts, and the TLS context of Caddy's clients."""

    network: Network
    tls: ssl.SSLContext

    @property
    def address(self) -> str:
        return self.network.hosts["first"].address

    def client(self) -> httpx.Client:
        return httpx.Client(
            base_url=f"https://{self.address}", verify=self.tls, headers={"Host": HOST}, trust_env=False, timeout=30
        )  # fmt: skip

    def hello(self) -> str:
        """Open a socket through Caddy; return its first message, the name of the host that serves it."""
        at = (self.address, 443)
        with connect(f"wss://{HOST}/ws", address=at, ssl=self.tls, proxy=None) as socket:
            return str(socket.recv(timeout=10))


@dataclass
class Reader:
    """A client that reads until the block ends; `answers` holds each answer's status, host and seconds."""

    site: Site
    answers: list[tuple[int, str, float]] = field(default_factory=list)

    def _read(self, ended: threading.Event) -> None:
        with self.site.client() as client:
            while not ended.is_set():
                begun = time.monotonic()
                answer = client.get("/api/markets", extensions=_SNI)
                self.answers.append((answer.status_code, answer.text, time.monotonic() - begun))

    @contextmanager
    def reading(self) -> Iterator[None]:
        ended = threading.Event()
        thread = threading.Thread(target=self._read, args=(ended,))
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """Run Caddy and the servers of both hosts; return the site when both hosts have answered through Caddy."""
    if reason := network_hosts.why_not():
        missing(reason)
    caddy = program("caddy", "caddy")
    with Network.of(("first", "second")) as network:
        hosts = network.hosts.values()
        for host in hosts:
            host.start(
                [sys.executable, _SERVER, host.name, host.address], os.environ, tmp_path / "servers.log"
            )
        text = (ROOT / "deploy" / "Caddyfile").read_text()
        for kind, port in (("gateway", 4000), ("websocket", 4001)):
            upstreams = " ".join(f"{host.address}:{port}" for host in hosts)
            text, count = re.subn(rf"{kind}-1:{port} {kind}-2:{port}", upstreams, text)
            assert count == 1
        (tmp_path / "Caddyfile").write_text(text)
        folders = {"XDG_DATA_HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path)}
        command = [caddy, "run", "--config", tmp_path / "Caddyfile", "--adapter", "caddyfile"]
        environment = {**os.environ, **folders, "SITE_HOST": HOST, "TLS_ISSUER": "internal"}
        network.hosts["first"].start(command, environment, tmp_path / "caddy.log")
        authority = tmp_path / "caddy" / "pki" / "authorities" / "local" / "root.crt"
        wait_for(authority.exists)
        site = Site(network, ssl.create_default_context(cafile=str(authority)))
        wait_for(lambda: answering(site) == {"first", "second"})
        yield site


def answering(site: Site) -> set[str]:
    """Return the names of the hosts that answer two reads in a row; empty while Caddy does not answer."""
    try:
        with site.client() as client:
            return {client.get("/", extensions=_SNI).text for _ in range(2)}
    except httpx.TransportError:
        return set()


@pytest.mark.parametrize("fault", ["cut off", "hang"])
def test_no_read_fails_when_a_machine_falls_silent_and_it_serves_again_when_it_is_back(
    site: Site, fault: str
):
    second = site.network.hosts["second"]
    silence, speak = {"cut off": (second.cut_off, second.plug_in), "hang": (second.pause, second.resume)}[
        fault
    ]
    readers = [Reader(site) for _ in range(4)]
    with readers[0].reading(), readers[1].reading(), readers[2].reading(), readers[3].reading():
        wait_for(lambda: all(len(reader.answers) > 20 for reader in readers))
        silence()
        begun = time.monotonic()
        greeted = [site.hello() for _ in range(4)]
        wait_for(lambda: time.monotonic() > begun + _SILENT_FOR_S)
        with site.client() as client:
            written = [client.post("/api/markets", json={}, extensions=_SNI).text for _ in range(10)]
        speak()
        wait_for(lambda: answering(site) == {"first", "second"}, within_s=30)
    answers = [answer for reader in readers for answer in reader.answers]
    print(f"{fault}: {len(answers)} reads, the slowest {max(seconds for _, _, seconds in answers):.1f} s")
    assert {status for status, _, _ in answers} == {200}
    assert max(seconds for _, _, seconds in answers) < _READ_WITHIN_S
    assert greeted == ["first"] * 4
    assert written == ["first"] * 10
