"""A machine with an address and a container engine of its own: a container in which Podman runs.

`docker` in it is Podman, used as deploy/README.md says for Podman before 4.6. A machine that is started with images
reads them from the outer Podman's store; to another machine they have to be sent.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from kit.containers import CONTAINERS_CONF, ROOT, Podman
from kit.installed import python_packages

_IMAGE = "localhost/zmart-machine:test"
_STORAGE = """[storage]
driver = "overlay"
graphroot = "/var/lib/containers/storage"
runroot = "/run/containers/storage"
[storage.options]
additionalimagestores = [{stores}]
"""
_DOCKER = """#!/bin/sh
export PYTHONPATH=/packages CONTAINERS_CONF=/machine/containers.conf CONTAINERS_STORAGE_CONF=/machine/storage.conf
export DISABLE_HC_SYSTEMD=true
[ "$1" = compose ] || exec podman "$@"
shift
export $(grep ^COMPOSE_FILE= .env)
case "$1" in
	up) shift; set -- up --no-deps "$@" ;;
	run) shift; set -- --profile demo run --no-deps "$@" ;;
esac
exec python3 /packages/bin/podman-compose "$@"
"""


class Machine:
    """A machine that runs from `start` to `remove`; its home directory is the folder `home` in `folder`."""

    def __init__(self, podman: Podman, name: str, network: str, address: str, folder: Path) -> None:
        self._podman, self._name, self._network, self.address = podman, name, network, address
        self.folder = folder
        self.home = folder / "home"

    def start(self, *, with_images: bool) -> None:
        """Start the machine; `with_images`: it can use all images of the outer Podman."""
        podman = self._podman
        shutil.rmtree(self.folder, ignore_errors=True)  # left by an interrupted run
        if not podman.has_image(_IMAGE):
            images = Path(__file__).parent / "images"
            podman.run("build", "--target", "machine", "-t", _IMAGE, images, within_s=600)
        settings = self.folder / "machine"
        for folder in (self.home, settings, self.folder / "containers"):
            folder.mkdir(parents=True)
        (settings / "containers.conf").write_text(CONTAINERS_CONF)
        (settings / "storage.conf").write_text(_STORAGE.format(stores='"/images"' if with_images else ""))
        (settings / "docker").write_text(_DOCKER)
        (settings / "docker").chmod(0o755)
        packages = python_packages(ROOT / "requirements" / "deploy.txt")
        mounts = {
            self.home: "/root", settings: "/machine", self.folder / "containers": "/var/lib/containers",
            packages: "/packages:ro", settings / "docker": "/usr/local/bin/docker:ro",
        }  # fmt: skip
        if with_images:
            mounts[podman.folder / "storage"] = "/images:ro"
        podman.run(
            "run", "-d", "--privileged", "--name", self._name, "--network", self._network, "--ip", self.address,
            *(part for outer, inner in mounts.items() for part in ("-v", f"{outer}:{inner}")), _IMAGE,
        )  # fmt: skip

    def shell(self, command: str, *, folder: str = "/root", within_s: float = 300) -> str:
        """Run a shell command on the machine in this folder and return its stdout; AssertionError when it fails."""
        return self._podman.run("exec", "-w", folder, self._name, "sh", "-ec", command, within_s=within_s)

    def kill(self) -> None:
        """Kill the machine: its processes and its address are gone at once."""
        self._podman.run("kill", self._name)

    def remove(self) -> None:
        """Remove the machine with its containers and files."""
        self._podman.run("rm", "-f", "-t", "0", self._name)
        shutil.rmtree(self.folder, ignore_errors=True)
