"""What a benchmark ran on: which CPython and how it was built, cores, and how busy the machine was before."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import sysconfig
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]
WORK = CHECKOUT / ".zmart" / "bench"
"""Everything that benchmarks install or write."""

_BUSY = 0.3


def python_build() -> str:
    """How this CPython was built: profile-guided builds are up to 1.7 times as fast as plain ones."""
    return "optimised" if is_optimised() else "NOT optimised: figures of ours are lower than they could be"


def is_optimised() -> bool:
    """Distributions build with profiles but do not say so in CONFIG_ARGS; pyenv does so only when it is asked."""
    asked = "--enable-optimizations" in (sysconfig.get_config_var("CONFIG_ARGS") or "")
    return asked or sys.base_prefix == "/usr"


def fast_python() -> Path:
    """This interpreter, or the distribution's optimised one of the same version with the same pinned packages."""
    name = f"python3.{sys.version_info.minor}"
    system, folder = Path("/usr/bin") / name, WORK / name
    if is_optimised() or not system.exists():
        return Path(sys.executable)
    pinned, made = (CHECKOUT / "requirements" / "runtime.txt").read_bytes(), folder / "runtime.txt"
    python = folder / "bin" / "python"
    if not made.exists() or made.read_bytes() != pinned:
        installing = [sys.executable, "-m", "pip", "--python", python, "install", "-qq", "--require-hashes"]
        for command in (
            [system, "-m", "venv", "--clear", "--without-pip", folder],
            [*installing, "-r", CHECKOUT / "requirements" / "runtime.txt"],
        ):
            if subprocess.run(command, capture_output=True, check=False).returncode != 0:
                return Path(sys.executable)
        made.write_bytes(pinned)
    return python


def described() -> dict[str, object]:
    load = os.getloadavg()[0]
    return {
        "python": f"{platform.python_implementation()} {platform.python_version()} ({sys.executable})",
        "build": python_build(),
        "cores": os.cpu_count() or 1,
        "load_before": round(load, 2),
        "busy": load > _BUSY * (os.cpu_count() or 1),
    }


if __name__ == "__main__":
    sys.stdout.write(f"{fast_python()}\n")
