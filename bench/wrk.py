"""wrk: load from one thread over kept-alive connections, its figures read from what it prints.

wrk opens all connections at the start, keeps them, and sends the next request of the plan on whichever connection has
its answer: clients follow each other on a connection, as they do behind a reverse proxy that pools its connections. One
that the server closes is opened again. A request is never sent before the last answer of its connection came (closed
loop, no pipelining), so a slow server is asked less.
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
"""Later answers would be missing from the percentiles; they fail the run."""
_UNITS_MS = {"us": 0.001, "ms": 1.0, "s": 1000.0, "m": 60_000.0}


@dataclass(frozen=True)
class Attack:
    """What wrk is to send: files of `request_plan`, a prefix of all paths, a pipe that gets a line for each write."""

    base: str
    prefix: str
    plan: Path
    header_sets: Path
    writes: Path | None = None


def find() -> str:
    """Raises ConfigError when it is not installed."""
    program = shutil.which("wrk")
    if program is None:
        raise ConfigError("The gateway's benchmark needs wrk: install it (Debian: apt install wrk).")
    return program


async def run(attack: Attack, seconds: int) -> Load:
    """Load a server. Raises ZmartError when an answer was not 2xx or a connection broke."""
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
    """Read wrk's report. Raises ZmartError on answers that were not 2xx, on broken connections, on another format."""
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
