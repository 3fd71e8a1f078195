"""Describe the machine of a benchmark: its CPython and how that was built, its cores, and its load before the run."""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
import sys
import sysconfig
from pathlib import Path

from zmart.errors import ConfigError
from zmart.local.chain.node import find_node

CHECKOUT = Path(__file__).resolve().parents[1]
WORK = CHECKOUT / ".zmart" / "bench"
"""The folder of all files that benchmarks install or write."""

_BUSY = 0.3


def python_build() -> str:
    """Return how this CPython was built: profile-guided builds are up to 1.7 times as fast as plain ones."""
    return "optimised" if is_optimised() else "NOT optimised: figures of ours are lower than they could be"


def is_optimised() -> bool:
    """Return whether this CPython is a profile-guided build.

    CONFIG_ARGS says so, except for Pythons of distributions (below /usr), which are always built with profiles.
    """
    is_optimized = "--enable-optimizations" in (sysconfig.get_config_var("CONFIG_ARGS") or "")
    return is_optimized or sys.base_prefix == "/usr"


def fast_python(checkout: Path = CHECKOUT) -> Path:
    """Return an optimised Python with a checkout's pinned packages, else that of the checkout's virtual environment.

    The optimised one is the running Python, or the distribution's in a virtual environment that is made once. Raises
    ConfigError when there is neither.
    """
    ours = Path(sys.executable)
    if checkout == CHECKOUT and is_optimised():
        return ours
    name = f"python3.{sys.version_info.minor}"
    system = Path("/usr/bin") / name
    own = ours if checkout == CHECKOUT else checkout / ".venv" / "bin" / "python"
    requirements = checkout / "requirements" / "local.txt"
    if not requirements.exists():  # commits before the extra `local` have one file
        requirements = requirements.with_name("runtime.txt")
    pinned = hashlib.sha256(requirements.read_bytes()).hexdigest()[:12]
    made = _made(WORK / f"{name}-{pinned}", system, requirements) if system.exists() else None
    if made is not None:
        return made
    if not own.exists():
        raise ConfigError(f"{checkout} has no virtual environment: run `make setup` there.")
    return own


def _made(folder: Path, system: Path, requirements: Path) -> Path | None:
    """Make a virtual environment of `system` with the pinned packages, once; return its Python, None when pip fails."""
    python, done = folder / "bin" / "python", folder / "installed"
    if not done.exists():
        installing: list[str | Path] = [
            sys.executable,
            "-m",
            "pip",
            "--python",
            python,
            "install",
            "-qq",
            "--require-hashes",
        ]
        commands: list[list[str | Path]] = [
            [system, "-m", "venv", "--clear", "--without-pip", folder],
            [*installing, "-r", requirements],
        ]
        for command in commands:
            if subprocess.run(command, capture_output=True, check=False).returncode != 0:
                return None
        done.touch()
    return python


def described() -> dict[str, object]:
    load = os.getloadavg()[0]
    return {
        "python": f"{platform.python_implementation()} {platform.python_version()} ({sys.executable})",
        "build": python_build(),
        "node": _node_version(),
        "cores": os.cpu_count() or 1,
        "load_before": round(load, 2),
        "busy": load > _BUSY * (os.cpu_count() or 1),
    }


def _node_version() -> str:
    """Return the version of the Node.js that runs the peers; "none" without one."""
    try:
        ran = subprocess.run([find_node(), "--version"], capture_output=True, text=True, check=False)
    except ConfigError:
        return "none"
    return ran.stdout.strip()


def version_of(python: Path) -> str:
    """Return the version and the path of another Python."""
    ran = subprocess.run([python, "--version"], capture_output=True, text=True, check=False)
    return f"{ran.stdout.strip()} ({python})"


if __name__ == "__main__":
    sys.stdout.write(f"{fast_python()}\n")
