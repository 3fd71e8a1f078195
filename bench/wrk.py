"""Run wrk, which makes load from one thread over kept-alive connections, and read the figures that it prints.

wrk opens all connections at the start, keeps them, and sends the next request of the plan on the next connection that
has its answer. So clients follow each other on a connection, as behind a reverse proxy that pools its connections. A
connection that the server closes is opened again. A request is sent only after the last answer on its connection
(closed loop, no pipelining), so a slow server gets fewer requests.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from comparison import Load
from request_plan import READS_PER_WRITE

from zmart.errors import ConfigError, ZmartError

CONNECTIONS = 64
_SCRIPT = Path(__file__).with_name("targets.lua")
_TIMEOUT_S = 10
"""Seconds for an answer; later answers, which would be missing from the percentiles, fail the run."""
_UNITS_MS = {"us": 0.001, "ms": 1.0, "s": 1000.0, "m": 60_000.0}


@dataclass(frozen=True)
class Attack:
    """A load: the base URL, a prefix of all paths, files of `request_plan`, a pipe that gets a line for each write."""

    base: str
    prefix: str
    plan: Path
    header_sets: Path
    writes: Path | None = None


def find() -> str:
    """Return the path of wrk. Raises ConfigError when it is not installed."""
    program = shutil.which("wrk")
    if program is None:
        raise ConfigError("The gateway's benchmark needs wrk: install it (Debian: apt install wrk).")
    return program


async def run(attack: Attack, seconds: int) -> Load:
    """Load a server for `seconds` and return the figures.

    Raises ZmartError when an answer is not 2xx or a connection breaks.
    """
    limits = ["-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", f"--timeout={_TIMEOUT_S}s"]
    arguments = [*limits, "--latency", "-s", str(_SCRIPT), attack.base]
    settings = {
        "PLAN": str(attack.plan),
        "HEADER_SETS": str(attack.header_sets),
        "PREFIX": attack.prefix,
        "READS_PER_WRITE": str(READS_PER_WRITE),
        **({} if attack.writes is None else {"WRITES": str(attack.writes)}),
    }
    process = await asyncio.create_subprocess_exec(
        find(),
        *arguments,
        env={**os.environ, **settings},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        printed = (await process.communicate())[0].decode()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        raise ZmartError(f"wrk ended with status {process.returncode}: {printed}")
    return parse(printed)


def parse(printed: str) -> Load:
    """Read wrk's output. Raises ZmartError on answers other than 2xx, broken connections, and an unknown format."""
    if "Non-2xx" in printed or "Socket errors" in printed:
        raise ZmartError(f"Not every request was answered with 2xx: {printed}")
    requests = re.search(r"(\d+) requests in", printed)
    speed = re.search(r"Requests/sec:\s+([\d.]+)", printed)
    if requests is None or speed is None:
        raise ZmartError(f"wrk printed something unexpected: {printed}")
    return Load(
        int(requests[1]), float(speed[1]), p50_ms=_latency_ms(printed, 50), p99_ms=_latency_ms(printed, 99)
    )


def _latency_ms(printed: str, percentile: int) -> float:
    match = re.search(rf"^\s+{percentile}%\s+([\d.]+)(us|ms|s|m)\s*$", printed, re.MULTILINE)
    if match is None:
        raise ZmartError(f"wrk printed no {percentile}th percentile: {printed}")
    return float(match[1]) * _UNITS_MS[match[2]]
