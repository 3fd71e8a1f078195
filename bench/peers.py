"""The peers of the benchmarks: Node.js servers, installed from their lock files."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from machine import WORK

from zmart.errors import ConfigError
from zmart.local.chain.node import find_node

PEERS = Path(__file__).with_name("peers")


def installed(name: str) -> Path:
    """Install a peer with its packages by `npm ci`, once for each lock file; return its folder.

    Raises ConfigError when npm is missing or fails.
    """
    source, folder = PEERS / name, WORK / name
    folder.mkdir(parents=True, exist_ok=True)
    lock = (source / "package-lock.json").read_bytes()
    done = folder / "installed.json"
    for file in (*source.iterdir(), *PEERS.glob("*.js")):
        if file.is_file():
            shutil.copyfile(file, folder / file.name)
    if not done.exists() or done.read_bytes() != lock:
        npm = shutil.which("npm")
        if npm is None:
            raise ConfigError("The peers of the benchmarks need npm: install it (Debian: apt install npm).")
        ran = subprocess.run(
            [npm, "ci", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"],
            cwd=folder, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if ran.returncode != 0:
            raise ConfigError(f"npm could not install the peer {name}: {ran.stderr.strip()[-300:]}")
        done.write_bytes(lock)
    return folder


def start(name: str, environment: Mapping[str, str], log: Path) -> subprocess.Popen[bytes]:
    """Start the server.js of a peer with NODE_ENV=production; its output goes to `log`."""
    folder = installed(name)
    with log.open("wb") as out:
        return subprocess.Popen(
            [find_node(), "server.js"], cwd=folder, stdout=out, stderr=out,
            env={**environment, "NODE_ENV": "production"},
        )  # fmt: skip
