"""Fan-out of the WebSocket server beside Node's `ws`: the same messages to the same number of clients, in turn.

What a message costs is the processor's time of the server divided by the messages that arrived: that stays true on a
machine with other work, where arrival times do not.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import machine
import peers
import psutil
import report
from fanout import CHANNEL, FIRST_OFFSET, STAMP, message

from zmart.errors import ZmartError
from zmart.local.processes import free_port, wait_until
from zmart.services.websocket import frames

TICKS, MESSAGES = 20, 2
COST_GOAL, P99_GOAL = 2.1, 2.0


@dataclass(frozen=True)
class Round:
    """What one server did for its clients."""

    per_second: float
    per_cpu_second: float
    p50_ms: float
    p99_ms: float
    memory_mb: float
    starved: int


def measure(quick: bool, progress: Callable[[str], None]) -> report.Report:
    """Raises ZmartError with one sentence when something is missing."""
    peers.installed("ws")
    results = report.Report("The WebSocket server, one process", "Node ws")
    with tempfile.TemporaryDirectory(prefix="zmart-bench-") as folder:
        for connections in (1_000,) if quick else (1_000, 2_500):
            _compare(results, Path(folder), connections, 2 if quick else 3, 4 if quick else 8, progress)
    results.notes.append(
        f"{TICKS} times a second {MESSAGES} messages of {len(_payload())} bytes to every client"
    )
    return results


def _compare(
    results: report.Report,
    folder: Path,
    connections: int,
    rounds: int,
    seconds: int,
    progress: Callable[[str], None],
) -> None:
    rounds: dict[str, list[Round]] = {"ours": [], "peer": []}
    for number in range(rounds):
        for who, start in (("ours", _ours), ("peer", _peer)):
            progress(f"{connections:,} clients, round {number + 1}: {who}")
            rounds[who].append(_round(start, folder, connections, seconds))
    ours, peer = (_middle(rounds[who]) for who in ("ours", "peer"))
    name = f"{connections:,} clients"
    results.faster(
        f"{name}: messages per second of processor", ours.per_cpu_second, peer.per_cpu_second, "/s", COST_GOAL
    )
    results.smaller(f"{name}: latency p50", ours.p50_ms, peer.p50_ms, "ms")
    results.smaller(
        f"{name}: latency p99", ours.p99_ms, peer.p99_ms, "ms", P99_GOAL if connections == 1_000 else None
    )
    results.smaller(f"{name}: memory", ours.memory_mb, peer.memory_mb, "MB")
    results.plain(f"{name}: messages delivered", ours.per_second, "/s", peer.per_second)
    for who, rounds_of in rounds.items():
        if most := max(each.starved for each in rounds_of):
            results.notes.append(
                f"{name}, {who}: in one round {most} clients got less than half of the median client"
            )


def _middle(rounds: list[Round]) -> Round:
    names = ("per_second", "per_cpu_second", "p50_ms", "p99_ms", "memory_mb", "starved")
    return Round(**{name: median(getattr(each, name) for each in rounds) for name in names})


def _round(
    start: Callable[[int, Path], subprocess.Popen[bytes]], folder: Path, clients: int, seconds: int
) -> Round:
    port, log = free_port(), folder / "server.log"
    server = start(port, log)
    try:
        wait_until(lambda: _listens(port), "the server", 20, server, log)
        size = len(frames.text(_payload()))
        command = [
            machine.fast_python(),
            Path(__file__).with_name("readers.py"),
            port,
            clients,
            size,
            seconds,
        ]
        with subprocess.Popen(
            [str(part) for part in command], stdout=subprocess.PIPE, env=_environment()
        ) as readers:
            assert readers.stdout is not None
            readers.stdout.readline()
            before = _cpu_s(server.pid)
            readers.stdout.readline()
            spent_s = _cpu_s(server.pid) - before
            memory_mb = psutil.Process(server.pid).memory_info().rss / 1e6
            result = json.loads(readers.stdout.readline() or b"{}")
    finally:
        server.kill()
        server.wait()
    if not result or result["lost"]:
        raise ZmartError(f"Clients lost their connection: {result or log.read_text('utf-8')[-300:]}")
    per_cpu_second = result["delivered"] / spent_s
    return Round(
        result["per_second"], per_cpu_second, result["p50_ms"], result["p99_ms"], memory_mb, result["starved"]
    )


def _ours(port: int, log: Path) -> subprocess.Popen[bytes]:
    script = Path(__file__).with_name("fanout.py")
    command = [str(part) for part in (machine.fast_python(), script, port, TICKS, MESSAGES)]
    with log.open("wb") as out:
        return subprocess.Popen(command, stdout=out, stderr=out, env=_environment())


def _peer(port: int, log: Path) -> subprocess.Popen[bytes]:
    template = _payload().decode()
    at = template.index('"sent":"') + len('"sent":"')
    template = template[:at] + STAMP.decode() + template[at + len(STAMP) :]
    settings = {"PORT": str(port), "TICKS": str(TICKS), "MESSAGES": str(MESSAGES), "TEMPLATE": template}
    return peers.start("ws", {**os.environ, **settings}, log)


def _payload() -> bytes:
    return message(FIRST_OFFSET + 1).payload(CHANNEL)


def _environment() -> dict[str, str]:
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join((str(machine.CHECKOUT / "src"), str(Path(__file__).parent))),
    }


def _cpu_s(pid: int) -> float:
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


def _listens(port: int) -> bool:
    with suppress(OSError):
        return any(
            each.laddr.port == port and each.status == "LISTEN" for each in psutil.net_connections("tcp")
        )
    return False


if __name__ == "__main__":
    report.main(measure)
