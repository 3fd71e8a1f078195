"""The stack of deploy/compose.yaml with the trial's chain, started by podman-compose in the tests' own podman."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kit.containers import ROOT, Podman
from kit.installed import python_packages
from kit.waiting import wait_for
from zmart.local.processes import free_port

HOST = "zmart.test"
"""The host name that clients use; the domain .test is reserved for tests."""
_STAND_INS = {
    "POSTGRES_IMAGE": ("postgres", "docker.io/library/postgres:17"),
    "REDIS_IMAGE": ("redis", "docker.io/library/redis:7"),
    "CADDY_IMAGE": ("caddy", "docker.io/library/caddy:2"),
    "PROMETHEUS_IMAGE": ("prometheus", "docker.io/prom/prometheus:v2.55.1"),
}


def make_servers(podman: Podman) -> None:
    """Make the images of PostgreSQL, Redis, Caddy and Prometheus from Debian's packages, under their public names."""
    for target, tag in _STAND_INS.values():
        if not podman.has_image(tag):
            folder = Path(__file__).parent / "images"
            podman.run("build", "--target", target, "-t", tag, folder, within_s=600)


class ComposeStack:
    """A copy of deploy/ in `folder` with an .env of its own, and the containers that podman-compose starts from it."""

    def __init__(
        self, podman: Podman, folder: Path, image: str, trial_image: str, project: str = "zmarttest"
    ) -> None:
        self.podman = podman
        self.folder = folder / "deploy"
        shutil.copytree(ROOT / "deploy", self.folder, ignore=shutil.ignore_patterns(".env", "helm"))
        self.project = project
        self.https_port, self.http_port = free_port(), free_port()
        podman.call(self.folder / "make-env.sh", "--trial", HOST)
        env = self.folder / ".env"
        ports = {"HTTPS_PORT": self.https_port, "HTTP_PORT": self.http_port}
        ports |= {"DASHBOARD_PORT": free_port(), "PROMETHEUS_PORT": free_port()}
        own = {**ports, "ZMART_IMAGE": image, "TRIAL_IMAGE": trial_image}
        env.write_text(env.read_text() + "".join(f"{name}={value}\n" for name, value in own.items()))
        self.settings = dict(line.split("=", 1) for line in env.read_text().splitlines() if "=" in line)

    def compose(self, *command: object, within_s: float = 300) -> str:
        """Run `podman-compose COMMAND` in the copy of deploy/ and return its stdout; AssertionError when it fails."""
        files = [part for file in self.settings["COMPOSE_FILE"].split(":") for part in ("-f", file)]
        packages = python_packages(ROOT / "requirements" / "deploy.txt")
        program = ["env", f"PYTHONPATH={packages}", sys.executable, packages / "bin" / "podman-compose"]
        return self.podman.call(
            *program, "-p", self.project, *files, *command, within_s=within_s, cwd=self.folder
        )

    def container(self, service: str) -> str:
        """Return the name of a service's container."""
        return f"{self.project}_{service}_1"

    def exec(self, service: str, *command: object) -> str:
        return self.podman.run("exec", self.container(service), *command)

    def state(self, service: str) -> str:
        return self.podman.run("inspect", "-f", "{{.State.Status}}", self.container(service)).strip()

    def is_healthy(self, service: str) -> bool:
        """Run the health check that compose.yaml gives a service; return whether it succeeds."""
        command = ["podman", "healthcheck", "run", self.container(service)]
        done = subprocess.run(command, env=self.podman.environment, capture_output=True, check=False)
        return done.returncode == 0

    def logs(self, service: str) -> str:
        done = subprocess.run(
            ["podman", "logs", "--tail", "40", self.container(service)],
            env=self.podman.environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        return done.stdout + done.stderr

    @contextmanager
    def running(self, *, alone: bool = False) -> Iterator[ComposeStack]:
        """Run everything within the block, or with `alone` only the servers that services need.

        At the end, containers and volumes are removed. Podman before 4.6 waits for no condition of `depends_on`, so
        servers are started before the services that need them.
        """
        try:
            self._start("postgres", "redis", "chain", "providers")
            for name in ("postgres", "redis", "chain", "providers"):
                wait_for(lambda name=name: self.is_healthy(name), within_s=180, every_s=0.5)
            if not alone:
                self._start("migrate")
                wait_for(lambda: self.state("migrate") == "exited", within_s=180, every_s=0.5)
                self._start()
            yield self
        finally:
            self.compose("down", "-v", "-t", "15", within_s=300)

    def _start(self, *services: str) -> None:
        self.compose("up", "-d", "--no-deps", *services, within_s=600)
