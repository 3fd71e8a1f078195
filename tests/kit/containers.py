"""Podman with images and containers of its own, apart from those of this machine, and the images that tests need."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
DEBIAN = "docker.io/library/debian:bookworm-slim"
PACKAGES = (
    "podman buildah runc containernetworking-plugins golang-github-containernetworking-plugin-dnsname iptables "
    "catatonit debootstrap"
)
PROGRAMS = ("podman", "buildah", "runc", "iptables", "catatonit", "debootstrap")
MISSING = f"Containers cannot run here: apt-get install --no-install-recommends {PACKAGES}"
# crun refuses the mixture of control groups of some machines, and podman wants to raise limits that may not be raised.
CONTAINERS_CONF = """
[containers]
default_ulimits = ["nofile=20000:20000", "nproc=1000:1000"]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
"""


def missing_programs() -> list[str]:
    """The programs that are not here."""
    return [name for name in PROGRAMS if shutil.which(name) is None]


class Podman:
    """Runs podman with its storage in `folder`."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        containers, storage = folder / "containers.conf", folder / "storage.conf"
        containers.write_text(CONTAINERS_CONF)
        storage.write_text(
            f'[storage]\ndriver = "overlay"\ngraphroot = "{folder}/storage"\nrunroot = "{folder}/run"\n'
        )
        self.environment = {
            **os.environ,
            "CONTAINERS_CONF": str(containers),
            "CONTAINERS_STORAGE_CONF": str(storage),
            "DISABLE_HC_SYSTEMD": "true",  # health checks run when they are asked for
            "REGISTRY_AUTH_FILE": os.devnull,
        }

    def run(self, *command: object, within_s: float = 120, **options: object) -> str:
        """Run `podman COMMAND` and return its output. AssertionError with what it said when it fails."""
        return self.call("podman", *command, within_s=within_s, **options)

    def call(self, *command: object, within_s: float = 120, **options: object) -> str:
        """Run a program for which podman is this one."""
        done = subprocess.run(
            [str(part) for part in command], capture_output=True, text=True, check=False, timeout=within_s,
            env=self.environment, stdin=subprocess.DEVNULL, **options,
        )  # fmt: skip
        assert done.returncode == 0, (
            f"{' '.join(map(str, command))}\n{done.stdout[-3000:]}{done.stderr[-3000:]}"
        )
        return done.stdout

    def has_image(self, name: str) -> bool:
        command = ["podman", "image", "exists", name]
        return subprocess.run(command, env=self.environment, check=False).returncode == 0

    def import_debian(self) -> None:
        """Make the base image, under its public name, from packages: no registry of images is asked."""
        if self.has_image(DEBIAN):
            return
        system, archive = self.folder / "debian", self.folder / "debian.tar"
        shutil.rmtree(system, ignore_errors=True)
        self.call("debootstrap", "--variant=minbase", "bookworm", system, within_s=600)
        for folder in ("usr/share/doc", "usr/share/man", "usr/share/locale", "var/cache/apt/archives"):
            shutil.rmtree(system / folder, ignore_errors=True)
        self.call("tar", "-C", system, "-cf", archive, ".")
        self.run("import", archive, DEBIAN)
        archive.unlink()
        shutil.rmtree(system)

    def make_image(self, target: str, *flags: object, **names: str) -> None:
        """Build an image of ours with the command of the documents; `names`: IMAGE and TRIAL_IMAGE."""
        build_flags = " ".join(map(str, (*registry_flags(self.folder), *flags)))
        variables = {**names, "CONTAINERS": "podman", "BUILD_FLAGS": build_flags}
        pairs = [f"{name}={value}" for name, value in variables.items()]
        self.call("make", "-s", target, *pairs, within_s=1_200, cwd=ROOT)


def registry_flags(folder: Path) -> list[str]:
    """Flags of a build that give it this machine's way to the package registry, without a trace in a layer."""
    listed = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=True
    ).stdout
    options: dict[str, list[str]] = {}
    for name, value in re.findall(r"^(?:global|install|:env:)\.([\w-]+)='(.*)'$", listed, re.MULTILINE):
        options.setdefault(name, []).append(value)
    cert = options.get("cert", [""])[-1]
    reach = ("index-url", "extra-index-url", "find-links", "trusted-host")
    lines = ["[global]", *(f"{name} = {options[name][-1]}" for name in reach if name in options)]
    flags = []
    if cert:
        lines.append("cert = /run/secrets/ca.pem")
        flags += ["--secret", f"id=ca.pem,src={cert}"]
    (folder / "pip.conf").write_text("\n".join(lines) + "\n")
    flags += ["--secret", f"id=pip.conf,src={folder / 'pip.conf'}"]
    # an index on this machine has its files beside it
    folders = {str(Path(path).parent) for path in re.findall(r"file://(/\S+)", "\n".join(lines))}
    folders |= {path for path in re.findall(r"(?<=[ =])/\S+", "\n".join(lines[1:-1])) if Path(path).is_dir()}
    for path in sorted(folders):
        flags += ["--volume", f"{path}:{path}:ro"]
    return flags
