"""wrk: load from one thread over kept-alive connections, its figures read from what it prints."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from zmart.errors import ConfigError, ZmartError

CONNECTIONS = 64
_SCRIPT = Path(__file__).with_name("targets.lua")
_UNITS_MS = {"us": 0.001, "ms": 1.0, "s": 1000.0, "m": 60_000.0}


@dataclass(frozen=True)
class Load:
    """What one server did under load."""

    per_second: float
    p99_ms: float


def find() -> str:
    """Raises ConfigError when it is not installed."""
    program = shutil.which("wrk")
    if program is None:
        raise ConfigError("The gateway's benchmark needs wrk: install it (Debian: apt install wrk).")
    return program


def run(url: str, paths: Path, seconds: float) -> Load:
    """Asks for the paths of a file in turn. Raises ZmartError when an answer was not a 200."""
    command = [find(), "-t1", f"-c{CONNECTIONS}", f"-d{seconds:g}s", "--latency", "-s", str(_SCRIPT), url]
    environment = {**os.environ, "PATHS": str(paths)}
    said = subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout
    if "Non-2xx" in said or "Socket errors" in said:
        raise ZmartError(f"{url} did not always answer 200 under load: {said}")
    speed = re.search(r"Requests/sec:\s+([\d.]+)", said)
    late = re.search(r"99%\s+([\d.]+)(us|ms|s|m)", said)
    if speed is None or late is None:
        raise ZmartError(f"wrk said something unexpected: {said}")
    return Load(float(speed[1]), float(late[1]) * _UNITS_MS[late[2]])


def middle(loads: list[Load]) -> Load:
    """Medians of several rounds."""
    return Load(median(load.per_second for load in loads), median(load.p99_ms for load in loads))
