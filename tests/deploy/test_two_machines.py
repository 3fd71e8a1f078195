"""Two machines, set up by the commands of deploy/README.md line by line; then the services of each machine are lost.

Two things are replaced. A pipe to `ssh` goes through a file. The building of images is left to test_image.py: the first
machine finds them as if `make image trial-image` had run. The servers' images are made from Debian's packages.
"""

from __future__ import annotations

import re
import ssl
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from compose_stack import HOST, make_servers
from deploy_machine import Machine

from kit.containers import ROOT, Podman
from kit.waiting import begin_within_a_window, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1_800)]

_FIRST, _SECOND, _SUBNET = "10.0.0.1", "10.0.0.2", "10.0.0.0/24"
_NETWORK = "zmart-two-machines"
_MINUTES = 15
_SSH = re.compile(rf"^(?P<said>.*) \| ssh root@{re.escape(_SECOND)} (?:'(?P<quoted>.*)'|(?P<plain>.*))$")
_ANOTHER_CLIENT = f"""
import ssl, urllib.request
wallet, headers = b'{{"wallet": "11111111111111111111111111111111"}}', {{"Content-Type": "application/json"}}
asked = urllib.request.Request("https://{HOST}/api/auth/nonce", wallet, headers)
print(urllib.request.urlopen(asked, context=ssl._create_unverified_context()).status)
"""
_COLOURS = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")
_DEPLOY, _COPIED = "/root/zmart/deploy", "/root/zmart"


@dataclass
class TwoMachines:
    """Both machines, the output of the chapter's last command (the demo), and the seconds until its end."""

    first: Machine
    second: Machine
    demo: str
    seconds: float

    def pipe_to_second(self, line: str) -> None:
        """Run a command line on the first machine whose output ssh would pipe into a command on the second one."""
        parts = _SSH.match(line)
        assert parts is not None
        self.first.shell(f"{parts['said']} > /root/pipe", folder=_DEPLOY, within_s=600)
        (self.first.home / "pipe").rename(self.second.home / "pipe")
        self.second.shell(f"cat /root/pipe | ({parts['quoted'] or parts['plain']})", within_s=600)


def blocks() -> list[list[str]]:
    """Return the commands of the chapter "On two machines", in three blocks: first machine, second, first again."""
    chapter = (ROOT / "deploy" / "README.md").read_text().partition("\n## On two machines\n")[2]
    text = chapter.partition("\n## ")[0]
    found = re.findall(r"(?:^    .+\n)+", text, re.MULTILINE)
    return [[line.partition(" #")[0].strip() for line in block.splitlines()] for block in found]


@pytest.fixture(scope="module")
def machines(
    podman: Podman, image: str, trial_image: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[TwoMachines]:
    """Start both machines and run the chapter's commands; remove the machines at the end."""
    make_servers(podman)
    podman.run("tag", image, "localhost/zmart:latest")
    podman.run("tag", trial_image, "localhost/zmart-trial:latest")
    folder = podman.folder / "machines"
    podman.run("network", "create", "--subnet", _SUBNET, "--gateway", "10.0.0.254", _NETWORK)
    first = Machine(podman, "two-first", _NETWORK, _FIRST, folder / "first")
    second = Machine(podman, "two-second", _NETWORK, _SECOND, folder / "second")
    try:
        first.start(with_images=True)
        second.start(with_images=False)
        yield follow(first, second)
    finally:
        first.remove()
        second.remove()
        podman.run("network", "rm", "-f", _NETWORK)


def follow(first: Machine, second: Machine) -> TwoMachines:
    """Run the chapter's commands on both machines, and the demo once both are ready."""
    begun = time.monotonic()
    result = TwoMachines(first, second, "", 0)
    on_first, on_second, [demo] = blocks()
    assert on_first[:2] == ["make image trial-image", "cd deploy"]
    first.shell(f"mkdir -p {_DEPLOY}")
    _copy(ROOT / "deploy", first.home / "zmart" / "deploy")
    for line in on_first[2:]:
        if "/var/lib/zmart" in line:  # the keys exist once the chain is ready
            wait_for(lambda: _answers(first, "chain", 8899), within_s=180, every_s=1)
        if "ssh" in line:
            result.pipe_to_second(line)
        else:
            first.shell(line, folder=_DEPLOY, within_s=600)
    assert on_second[0] == "cd zmart"
    for line in on_second[1:]:
        second.shell(line, folder=_COPIED, within_s=600)
    for machine in (first, second):
        wait_for(lambda machine=machine: _is_ready(machine), within_s=240, every_s=1)
    result.demo = first.shell(demo, folder=_DEPLOY, within_s=400)
    result.seconds = time.monotonic() - begun
    return result


def _copy(source: Path, target: Path) -> None:
    for path in source.rglob("*"):
        name = path.relative_to(source)
        if path.is_file() and name.parts[0] not in (".env", "helm") and "__pycache__" not in name.parts:
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            (target / name).write_bytes(path.read_bytes())
            (target / name).chmod(path.stat().st_mode)


def _answers(machine: Machine, service: str, port: int, path: str = "/") -> bool:
    """Return whether a service answers a request from inside its container with a status below 400."""
    program = f"import urllib.request as r; r.urlopen('http://127.0.0.1:{port}{path}', timeout=4)"
    try:
        machine.shell(
            f'docker compose exec -T {service} /usr/bin/python3 -ISc "{program}"', folder=_folder(machine)
        )
    except AssertionError:
        return False
    return True


def _folder(machine: Machine) -> str:
    return _DEPLOY if machine.address == _FIRST else _COPIED


def _is_ready(machine: Machine) -> bool:
    return all(
        _answers(machine, service, port, "/ready")
        for service, port in (("gateway-1", 4000), ("websocket-1", 4001), ("aggregator", 4003))
    )


class Client:
    """A client that reads the market list through Caddy until the block ends; `statuses` are those of its answers."""

    def __init__(self, machines: TwoMachines) -> None:
        authority = machines.first.shell(
            "docker compose exec -T caddy cat /data/caddy/pki/authorities/local/root.crt", folder=_DEPLOY
        )
        self.http = httpx.Client(
            base_url=f"https://{_FIRST}", verify=ssl.create_default_context(cadata=authority),
            headers={"Host": HOST}, trust_env=False, timeout=15,
        )  # fmt: skip
        self.statuses: list[int] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._read)

    def get(self, path: str) -> httpx.Response:
        return self.http.get(path, extensions={"sni_hostname": HOST})

    def nonce(self) -> int:
        """Request a nonce and return the status; an address may request RATE_LIMIT_NONCE of them a minute."""
        body = {"wallet": "11111111111111111111111111111111"}
        return self.http.post("/api/auth/nonce", json=body, extensions={"sni_hostname": HOST}).status_code

    def _read(self) -> None:
        while not self._stop.is_set():
            self.statuses.append(self.get("/api/markets").status_code)

    def __enter__(self) -> Client:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self.http.close()

    def read_on(self, count: int = 50) -> None:
        """Wait until `count` more reads were answered."""
        least = len(self.statuses) + count
        wait_for(lambda: len(self.statuses) >= least, within_s=60)


def test_a_newcomer_has_a_market_with_tls_on_two_machines_within_minutes(machines: TwoMachines):
    print(f"From `make-env.sh` to the end of the demo: {machines.seconds:.0f} s")
    assert machines.seconds < _MINUTES * 60
    assert "checks hold" in _COLOURS.sub("", machines.demo)


def test_no_client_notices_that_the_services_of_either_machine_end(machines: TwoMachines):
    """C1, C5: gateways and socket servers of one machine are killed, then those of the other."""
    with Client(machines) as client:
        for machine, services in (
            (machines.second, "gateway-1 websocket-1"),
            (machines.first, "gateway-1 gateway-2 websocket-1 websocket-2"),
        ):
            machine.shell(f"docker compose kill {services}", folder=_folder(machine))
            client.read_on()
            machine.shell(f"docker compose start {services}", folder=_folder(machine))
            wait_for(lambda machine=machine: _is_ready(machine), within_s=120, every_s=1)
            client.read_on()
    assert set(client.statuses) == {200}


def test_the_second_machine_alone_serves_and_counts_clients_by_their_own_addresses(machines: TwoMachines):
    services = "gateway-1 gateway-2"
    machines.first.shell(f"docker compose stop {services}", folder=_DEPLOY)
    client = Client(machines)
    try:
        limit = int(machines.first.shell("sed -n s/^RATE_LIMIT_NONCE=//p .env", folder=_DEPLOY))
        begin_within_a_window(30)
        assert [client.nonce() for _ in range(limit + 1)][-1] == 429
        machines.second.shell(f"echo {_FIRST} {HOST} >> /etc/hosts")
        (machines.second.home / "another_client.py").write_text(_ANOTHER_CLIENT)
        assert machines.second.shell("python3 another_client.py").strip() == "200"
    finally:
        client.http.close()
        machines.first.shell(f"docker compose start {services}", folder=_DEPLOY)
        wait_for(lambda: _is_ready(machines.first), within_s=120, every_s=1)


def test_a_second_machine_that_is_lost_is_left_out(machines: TwoMachines):
    """The machine's address vanishes: no connection to it is refused, packets are lost."""
    with Client(machines) as client:
        client.read_on(10)
        machines.second.kill()
        client.read_on(200)
    assert set(client.statuses) == {200}
