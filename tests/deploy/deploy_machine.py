"""A machine with an address and a container engine of its own: a container in which Podman runs.

`docker` in it is Podman with what deploy/README.md says of Podman before 4.6. Images that the first machine would build
or pull are read from the outer Podman's store; the others have to be sent to it.
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
    """Runs from `start` to `remove`. Its home is the folder `home` in `folder`."""

    def __init__(self, podman: Podman, name: str, network: str, address: str, folder: Path) -> None:
        self._podman, self._name, self._network, self.address = podman, name, network, address
        self.folder = folder
        self.home = folder / "home"

    def start(self, *, with_images: bool) -> None:
        """Start it; `with_images`: it has what the outer Podman has."""
        podman = self._podman
        shutil.rmtree(self.folder, ignore_errors=True)  # of a run that was interrupted
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
        """Run a line of a shell in this folder; what it printed. AssertionError when it fails."""
        return self._podman.run("exec", "-w", folder, self._name, "sh", "-ec", command, within_s=within_s)

    def kill(self) -> None:
        """Lose it: its processes and its address are gone at once."""
        self._podman.run("kill", self._name)

    def remove(self) -> None:
        """Remove it with all that ran on it."""
        self._podman.run("rm", "-f", "-t", "0", self._name)
        shutil.rmtree(self.folder, ignore_errors=True)
