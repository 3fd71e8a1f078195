"""Packages that only tests need, installed below .zmart from lock files, and again when a lock file has changed."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest

from zmart.local.chain.node import find_node, npm_script

ROOT = Path(__file__).parents[2]
_WITHIN_S = 280


def npm_packages(source: Path, *options: str) -> Path:
    """Install what `source`/package-lock.json pins; return the folder with `node_modules`. `options` are npm's.

    Fails the test on CI, and skips it elsewhere, when the installation fails.
    """

    def install(folder: Path) -> None:
        for name in ("package.json", "package-lock.json"):
            shutil.copyfile(source / name, folder / name)
        node = find_node()
        flags = ["--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"]
        _run([node, npm_script(node), "ci", *flags, *options], folder)

    return _installed(source.name, (source / "package-lock.json").read_bytes(), install)


def python_packages(requirements: Path) -> Path:
    """Install pinned requirements into a folder for PYTHONPATH, apart from this environment; return the folder.

    Fails the test on CI, and skips it elsewhere, when the installation fails.
    """

    def install(folder: Path) -> None:
        shutil.rmtree(folder / "packages", ignore_errors=True)
        flags = ["-qq", "--disable-pip-version-check", "--require-hashes", "--target", "packages"]
        _run([sys.executable, "-m", "pip", "install", *flags, "-r", str(requirements)], folder)

    return _installed(requirements.stem, requirements.read_bytes(), install) / "packages"


def program(name: str, package: str) -> str:
    """Return the path of a program of Debian's `package`; without it, the test fails on CI, else it is skipped."""
    if found := shutil.which(name):
        return found
    return missing(f"This test needs {name}: install it (Debian: apt install {package}).")


def missing(reason: str) -> NoReturn:
    """Fail the test on CI (the variable CI is set); skip it elsewhere."""
    if os.environ.get("CI", "").lower() in ("1", "true"):
        pytest.fail(reason)
    pytest.skip(reason)


def _installed(name: str, pinned: bytes, install: Callable[[Path], None]) -> Path:
    folder = ROOT / ".zmart" / name
    folder.mkdir(parents=True, exist_ok=True)
    done = folder / "installed.lock"
    with (folder / ".lock").open("w") as alone:
        fcntl.flock(alone, fcntl.LOCK_EX)
        if not done.exists() or done.read_bytes() != pinned:
            install(folder)
            done.write_bytes(pinned)
    return folder


def _run(command: list[str], folder: Path) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=_WITHIN_S, check=False)
    if done.returncode != 0:
        missing(f"A registry could not give what {folder.name} pins: {done.stderr.strip()[-300:]}")
