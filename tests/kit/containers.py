"""Podman with a storage of its own, apart from this machine's images and containers; images that tests need."""

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
# crun refuses machines that mix versions 1 and 2 of control groups; podman's default limits may exceed those allowed.
CONTAINERS_CONF = """
[containers]
default_ulimits = ["nofile=20000:20000", "nproc=1000:1000"]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
"""


def missing_programs() -> list[str]:
    """Return those of PROGRAMS that are not installed."""
    return [name for name in PROGRAMS if shutil.which(name) is None]


class Podman:
    """Runs podman with its images, containers and configuration in `folder`."""

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
        """Run `podman COMMAND` and return its stdout; AssertionError with its output when it fails."""
        return self.call("podman", *command, within_s=within_s, **options)

    def call(self, *command: object, within_s: float = 120, **options: object) -> str:
        """Run a program in the environment that points podman at this storage, and return its stdout.

        AssertionError with the end of its output when it fails; subprocess.TimeoutExpired after `within_s` seconds.
        """
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
        """Make the base image DEBIAN from Debian packages, under its public name; no image registry is asked."""
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
        """Build an image by `make TARGET`, as the documents say; `names` are Make variables: IMAGE, TRIAL_IMAGE."""
        build_flags = " ".join(map(str, (*registry_flags(self.folder), *flags)))
        variables = {**names, "CONTAINERS": "podman", "BUILD_FLAGS": build_flags}
        pairs = [f"{name}={value}" for name, value in variables.items()]
        self.call("make", "-s", target, *pairs, within_s=1_200, cwd=ROOT)


def registry_flags(folder: Path) -> list[str]:
    """Return flags of a build that give it this machine's pip configuration as secrets, which no layer contains."""
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
    # An index in a folder of this machine is mounted, too.
    folders = {str(Path(path).parent) for path in re.findall(r"file://(/\S+)", "\n".join(lines))}
    folders |= {path for path in re.findall(r"(?<=[ =])/\S+", "\n".join(lines[1:-1])) if Path(path).is_dir()}
    for path in sorted(folders):
        flags += ["--volume", f"{path}:{path}:ro"]
    return flags
